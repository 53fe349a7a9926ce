//! The merges of SSTables of one node.

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
    /// What merges may read in a second, as it is set; 0 for no limit.
    pub throughput_bytes_per_second: u64,
    /// What they may read now, since it is raised while much waits; none for no limit.
    pub limit_bytes_per_second: Option<u64>,
    /// When the last of those under way will be done, at the speed of the last seconds and within the limit; absent as long
    /// as none has begun to move.
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
    /// How many of their bytes were read.
    pub done_bytes: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Since it began.
    pub elapsed_seconds: f64,
    /// Until it is done, likewise; absent as long as it has not begun to move.
    pub remaining_seconds: Option<f64>,
}

/// What is known now.
pub(super) fn of(source: &Source) -> CompactionReport {
    let engine = source.store.engine();
    let picture = source.cluster.picture();
    let limit = engine.compaction_limit();
    let running = |merge: Compaction| RunningCompaction {
        id: merge.id,
        kind: merge.kind.name(),
        table: picture.view().tables().by_id(merge.table).map(|table| table.name.clone()),
        input_sstables: merge.input_tables,
        done_bytes: merge.done_bytes,
        total_bytes: merge.input_bytes,
        elapsed_seconds: merge.elapsed.as_secs_f64(),
        remaining_seconds: remaining_seconds(left(&merge), merge.bytes_per_second.map(|b| b as f64), limit),
    };
    let merges = engine.compactions();
    // They share the limit.
    let at_the_limit = limit.map(|limit| merges.iter().map(left).sum::<u64>() as f64 / limit);
    let compactions: Vec<_> = merges.into_iter().map(running).collect();
    let remaining = compactions.iter().filter_map(|merge| merge.remaining_seconds).reduce(f64::max);
    let debt = engine.compaction_debt();
    CompactionReport {
        pending_bytes: debt.pending_bytes,
        pending_sstables: debt.sorted_runs,
        remaining_seconds: remaining.map(|seconds| seconds.max(at_the_limit.unwrap_or(0.0))),
        compactions,
        throughput_bytes_per_second: engine.compaction_throughput(),
        limit_bytes_per_second: limit.map(|limit| limit as u64),
        set_aside: engine.set_aside(),
    }
}

fn left(merge: &Compaction) -> u64 {
    merge.input_bytes.saturating_sub(merge.done_bytes)
}

/// How long the rest takes at this pace, in bytes per second, but not faster than the limit. Without a pace nobody knows:
/// what has not begun to move may wait for others, whatever the limit.
fn remaining_seconds(left: u64, pace: Option<f64>, limit: Option<f64>) -> Option<f64> {
    let pace = pace?;
    Some(left as f64 / limit.map_or(pace, |limit| limit.min(pace)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_pace_and_the_limit_say() {
        assert_eq!(remaining_seconds(900, Some(10.0), None), Some(90.0));
        assert_eq!(remaining_seconds(900, Some(10.0), Some(1.0)), Some(900.0), "the limit was lowered");
        assert_eq!(remaining_seconds(900, Some(10.0), Some(1000.0)), Some(90.0));
        assert_eq!(remaining_seconds(900, None, Some(100.0)), None, "nothing is done yet");
        assert_eq!(remaining_seconds(900, None, None), None);
        assert_eq!(remaining_seconds(0, Some(10.0), None), Some(0.0));
    }
}
