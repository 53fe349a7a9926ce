//! The SSTables of a table, by the level that compaction counts them to.

use crate::{
    compaction::{Candidate, KeySpace, by_level, most_overlapping},
    sstable::{Stats, TableFile},
    table_options::{Strategy, TableOptions},
};

/// The SSTables of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedLevel {
    /// Its number, by density: 0 is that of a flush. `None` for a strategy without levels.
    pub level: Option<i32>,
    /// How many SSTables.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them one key may be in, at most.
    pub overlap: usize,
}

/// The levels of a table's SSTables, ascending. As a flush's size counts that of the smallest, as right after an opening.
pub fn levels(tables: &[(TableFile, Stats)], options: &TableOptions) -> Vec<InspectedLevel> {
    let smallest = tables.iter().map(|(_, stats)| &stats.first_key).min();
    let largest = tables.iter().map(|(_, stats)| &stats.last_key).max();
    let (Some(smallest), Some(largest)) = (smallest, largest) else { return Vec::new() };
    let space = KeySpace::between(smallest, largest);
    let candidates: Vec<_> = tables.iter().map(|(file, stats)| Candidate::new(file, stats, space)).collect();
    let flush_bytes = candidates.iter().map(|table| table.size_bytes).min().unwrap_or(1);
    let numbered: Vec<(Option<i32>, &Candidate)> = match &options.strategy {
        Strategy::Unified(unified) => by_level(&candidates, unified, flush_bytes)
            .into_iter()
            .map(|(l, table)| (Some(l), table))
            .collect(),
        Strategy::TimeWindow(_) => candidates.iter().map(|table| (None, table)).collect(),
    };
    let of_one = numbered.chunk_by(|(a, _), (b, _)| a == b).map(|members| InspectedLevel {
        level: members[0].0,
        tables: members.len(),
        bytes: members.iter().map(|(_, table)| table.size_bytes).sum(),
        overlap: most_overlapping(members.iter().map(|(_, table)| *table)),
    });
    of_one.collect()
}
