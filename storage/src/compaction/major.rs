//! Which SSTables a merge of all takes at once.
//!
//! A merge holds a block of each table that it stands in, and a block can be as large as a value. Tables that follow
//! one another are no matter, however many: it stands in one of them at a time. Where more overlap than it may hold,
//! the smallest of those are merged first, as many as leave full merges for the rest, so that as little as possible is
//! written more than once.
//!
//! *Source:* Huffman, A Method for the Construction of Minimum-Redundancy Codes, 1952, for trees of more than two
//! branches; Knuth, The Art of Computer Programming vol. 3, §5.4.9.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use crate::sstable::TableReader;

/// All of the tables if no key is in more than `most` of them, which is at least 2; else some that have a key in common,
/// at least two. Merged, these overlap no longer, and the others not more than before.
pub(crate) fn next_pass(mut tables: Vec<Arc<TableReader>>, most: usize) -> Vec<Arc<TableReader>> {
    let most = most.max(2);
    let (crowded, overlap) = most_crowded(&mut tables);
    if overlap > most {
        tables.retain(|table| {
            let stats = table.stats();
            stats.first_key <= crowded && crowded <= stats.last_key
        });
        tables.sort_by_key(|table| (table.file().length_bytes, table.file().id));
        // Each full merge leaves one table of `most`, and the last one is to be full too.
        tables.truncate(2 + (overlap - 2) % (most - 1));
    }
    tables
}

/// A key that lies within the bounds of most tables, and of how many.
fn most_crowded(tables: &mut [Arc<TableReader>]) -> (Bytes, usize) {
    tables.sort_by(|a, b| a.stats().first_key.cmp(&b.stats().first_key));
    let (mut open, mut crowded, mut most) = (BTreeSet::new(), Bytes::new(), 0);
    for table in tables {
        let stats = table.stats();
        while open.first().is_some_and(|(end, _)| *end < &stats.first_key) {
            open.pop_first();
        }
        open.insert((&stats.last_key, table.file().id));
        if open.len() > most {
            (crowded, most) = (stats.first_key.clone(), open.len());
        }
    }
    (crowded, most)
}
