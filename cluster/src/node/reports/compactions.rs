//! The merges of SSTables of one node.

use std::time::Duration;

use helenus_storage::Compaction;
use serde::Serialize;

use super::source::Source;

/// Which merges are under way, and how far they are behind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompactionReport {
    /// Bytes of SSTables that are due to be merged.
    pub pending_bytes: u64,
    /// SSTables due to be merged that one read may have to look into.
    pub pending_sstables: usize,
    /// Merges that are under way, by id.
    pub compactions: Vec<RunningCompaction>,
    /// What merges may write in a second; 0 for no limit.
    pub throughput_bytes_per_second: u64,
    /// When the last of those under way will be done, at the speed so far.
    pub remaining_seconds: Option<f64>,
    /// SSTables that are damaged and left out.
    pub set_aside: Vec<String>,
}

/// A merge that is under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunningCompaction {
    /// Names it until the node stops.
    pub id: u64,
    /// Why: `strategy`, `major`, `tombstones` or `expired`.
    pub kind: &'static str,
    /// Name of the table; none for one of the node's own.
    pub table: Option<String>,
    /// SSTables that it takes.
    pub input_sstables: usize,
    /// How many of their bytes are done.
    pub done_bytes: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Since it began.
    pub elapsed_seconds: f64,
    /// Until it is done, at the speed so far; absent as long as there is none.
    pub remaining_seconds: Option<f64>,
}

/// What is known now.
pub(super) fn of(source: &Source) -> CompactionReport {
    let engine = source.store.engine();
    let picture = source.cluster.picture();
    let running = |merge: Compaction| RunningCompaction {
        id: merge.id,
        kind: merge.kind.name(),
        table: picture.view().tables().by_id(merge.table).map(|table| table.name.clone()),
        input_sstables: merge.input_tables,
        done_bytes: merge.done_bytes,
        total_bytes: merge.input_bytes,
        elapsed_seconds: merge.elapsed.as_secs_f64(),
        remaining_seconds: remaining_seconds(merge.done_bytes, merge.input_bytes, merge.elapsed),
    };
    let compactions: Vec<_> = engine.compactions().into_iter().map(running).collect();
    let debt = engine.compaction_debt();
    CompactionReport {
        pending_bytes: debt.pending_bytes,
        pending_sstables: debt.sorted_runs,
        remaining_seconds: compactions.iter().filter_map(|merge| merge.remaining_seconds).reduce(f64::max),
        compactions,
        throughput_bytes_per_second: engine.compaction_throughput(),
        set_aside: engine.set_aside(),
    }
}

/// How long the rest takes if it goes on as it went so far; `None` as long as nothing is done.
pub fn remaining_seconds(done: u64, total: u64, elapsed: Duration) -> Option<f64> {
    (done > 0).then(|| elapsed.as_secs_f64() * total.saturating_sub(done) as f64 / done as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_in_proportion_as_what_is_done() {
        let elapsed = Duration::from_secs(30);
        assert_eq!(remaining_seconds(25, 100, elapsed), Some(90.0));
        assert_eq!(remaining_seconds(100, 100, elapsed), Some(0.0));
        assert_eq!(remaining_seconds(0, 100, elapsed), None);
    }
}
