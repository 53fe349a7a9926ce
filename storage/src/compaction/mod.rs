//! Merging SSTables, so that a read has few of them to ask.
//!
//! Size-tiered, as in Bigtable and early Cassandra: tables of similar size are merged into one, so a record
//! is written once per tier, and there are logarithmically many tiers. Rejected for now: levels, which read
//! less and write several times more.
//!
//! A merge reconciles and keeps what wins, tombstones and expired records included. A tombstone may go only
//! when it is older than its grace and nothing outside the merge, memtables too, can hold something older for
//! its key; before that rule exists every tombstone stays, which costs space and is never wrong.
//!
//! Reading order: `strategy` (what to merge: pure), `job` (the merge).

mod job;
mod strategy;

pub(crate) use job::merge_tables;
pub(crate) use strategy::{Candidate, pick};
