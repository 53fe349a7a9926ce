//! Which SSTables a merge of all takes at once.
//!
//! A merge holds a block of each table that it stands in, and a block can be as large as a value. Tables that follow
//! one another are no matter, however many: it stands in one of them at a time. Where more overlap than it may hold,
//! the smallest of those are merged first, as many as leave full merges for the rest, so that as little as possible is
//! written more than once.
//!
//! *Source:* Huffman, A Method for the Construction of Minimum-Redundancy Codes, 1952, for trees of more than two
//! branches; Knuth, The Art of Computer Programming vol. 3, §5.4.9.

use super::candidate::{Candidate, crowd};
use crate::sstable::FileId;

/// All of the tables if no key is in more than `most` of them, which is at least 2; else some that have a key in common,
/// at least two. Merged, these overlap no longer, and the others not more than before.
pub(crate) fn next_pass(tables: &[Candidate], most: usize) -> Vec<FileId> {
    let (most, crowd) = (most.max(2), crowd(tables));
    let id = |table: &Candidate| table.id;
    match crowd.len() {
        // Each full merge leaves one table of `most`, and the last one is to be full too.
        overlap if overlap > most => crowd.into_iter().take(2 + (overlap - 2) % (most - 1)).map(id).collect(),
        _ => tables.iter().map(id).collect(),
    }
}
