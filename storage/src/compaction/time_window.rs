//! Which SSTables to merge: one per window of time.
//!
//! Records that are written and expire in the order of time are best kept in tables of one time each: such a table
//! expires as a whole, and is dropped without being read. *Source:* Cassandra's `TimeWindowCompactionStrategy`.
//!
//! A table belongs to the window of its newest write timestamp. The newest window is tiered, as long as tables come
//! in; what is left of an older one becomes one table.

use super::{
    candidate::{Candidate, most_overlapping},
    unified,
};
use crate::{
    sstable::FileId,
    table_options::{Scaling, TimeWindow, Unified},
};

/// All merges that are due, the most urgent first.
pub(crate) fn due(candidates: &[Candidate], options: TimeWindow, flush_bytes: u64) -> Vec<Vec<FileId>> {
    let window_micros = u64::try_from(options.window.as_micros()).unwrap_or(u64::MAX).max(1);
    let window = |table: &Candidate| table.max_timestamp.0 / window_micros;
    let mut ordered: Vec<Candidate> = candidates.to_vec();
    ordered.sort_by_key(|table| (window(table), table.size_bytes, table.id));
    let mut windows: Vec<&[Candidate]> = ordered.chunk_by(|a, b| window(a) == window(b)).collect();
    let Some(newest) = windows.pop() else { return Vec::new() };
    let tiered = Unified { scaling: Scaling::tiered(options.min_tables), ..Unified::default() };
    let mut due: Vec<Vec<FileId>> =
        unified::due(newest, &tiered, flush_bytes).into_iter().map(|due| due.tables).collect();
    windows.retain(|tables| tables.len() > 1);
    windows.sort_by_key(|tables| std::cmp::Reverse(most_overlapping(*tables)));
    due.extend(windows.into_iter().map(|tables| tables.iter().map(|table| table.id).collect()));
    due
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Timestamp;

    /// Tables of equal size, by the seconds of their newest timestamps.
    fn picked(newest: &[u64]) -> Vec<Vec<u64>> {
        let table = |(number, &seconds): (usize, &u64)| {
            Candidate::at(number as u64, 1 << 20, (0, u64::MAX), Timestamp(seconds * 1_000_000))
        };
        let candidates: Vec<_> = newest.iter().enumerate().map(table).collect();
        let options = TimeWindow { window: Duration::from_secs(100), min_tables: 4 };
        let due = due(&candidates, options, 1 << 20);
        due.into_iter().map(|tables| tables.into_iter().map(|id| id.0).collect()).collect()
    }

    #[test]
    fn the_newest_window_is_tiered() {
        assert_eq!(picked(&[]), [[0; 0]; 0]);
        assert_eq!(picked(&[510, 520, 530]), [[0; 0]; 0]);
        assert_eq!(picked(&[510, 599, 500, 530]), [[0, 1, 2, 3]]);
    }

    #[test]
    fn an_older_window_becomes_one_table_and_stays_it() {
        assert_eq!(picked(&[410, 510, 420, 520]), [[0, 2]]);
        assert_eq!(picked(&[410, 510]), [[0; 0]; 0]);
    }

    #[test]
    fn tables_of_different_windows_are_never_merged() {
        assert_eq!(picked(&[99, 100, 200, 300, 400, 500]), [[0; 0]; 0]);
    }

    #[test]
    fn odd_windows_do_no_harm() {
        let table = Candidate::at(1, 1, (0, 0), Timestamp(u64::MAX));
        for window in [Duration::ZERO, Duration::MAX] {
            assert!(due(&[table.clone(), table.clone()], TimeWindow { window, min_tables: 0 }, 0).len() < 2);
        }
    }
}
