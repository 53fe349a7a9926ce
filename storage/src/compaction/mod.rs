//! Merging SSTables, so that a read has few of them to ask, and what is deleted makes room.
//!
//! A merge reconciles and keeps what wins. Which tables it takes is the strategy of the table
//! ([`TableOptions`](crate::table_options::TableOptions)); what it may leave out is the purge rule. Both are decided
//! from statistics, without reading a record.
//!
//! ```text
//!                ┌ expired        whole tables of which nothing is needed: dropped unread
//! live tables ──►│ unified        levels of like density; a bucket that overlaps too often
//!                │ time window    one table per window
//!                └ tombstones     a single table, a fifth of which could go
//!                        │ merge, purge, cut at the bounds of shards
//!                        ▼
//!                one manifest frame: inputs out, outputs in
//! ```
//!
//! # Share of the key space
//!
//! Density needs to know how much of the key space a table covers, and keys are opaque bytes. The bits that all keys
//! of a table begin with are left out, and the 64 bits that follow are taken for a fraction ([`KeySpace`]). Keys that
//! begin with an order-preserving token are spread evenly over that; others are not, and then shards differ in size:
//! one that is too large is cut where it happens to be, one that is too small goes on into the next. A wrong measure
//! costs work, never a record.
//!
//! # Rejected
//!
//! Size tiers without density (a large merge cannot be split, so it cannot be done in parallel, and needs as much
//! room again as the table has); separate strategies for levelled and tiered tables, since one parameter leads from
//! one to the other; purging by a snapshot of the tables when the merge began (see `purge`).
//!
//! Reading order: `key_space`, `candidate`, `unified`, `time_window`, `major` (what to merge: pure), `purge` (what may
//! go), `job` (the merge), `throttle`.

mod candidate;
mod job;
mod key_space;
mod major;
mod purge;
mod throttle;
mod time_window;
mod unified;

pub(crate) use candidate::{Candidate, most_overlapping};
pub(crate) use job::{Cuts, merge_tables};
pub(crate) use key_space::KeySpace;
pub(crate) use major::next_pass;
pub(crate) use purge::{Deadlines, Purge, expired, is_worth_rewriting};
pub(crate) use throttle::{Throttle, limit};
pub(crate) use unified::{by_level, merged_density, shards};
pub(crate) use {time_window::due as due_by_time, unified::due as due_by_density};
