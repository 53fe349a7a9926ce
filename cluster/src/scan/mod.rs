//! Scans: which part of the ring a page reads, from whom, and where the next page goes on.
//!
//! ```text
//!   prefix, start, end ──▶ bounds ──▶ a range of storage keys          page token ──▶ where it goes on
//!                                         │                                 │
//!                                         ▼                                 ▼
//!     ring and placement ──────────▶ segments: ranges with one replica set each, in order
//!                                         │
//!                                         ▼  as many at once as the page seems to take: pace
//!                                    pages of replicas, reconciled (crate::quorum::pages)
//! ```
//!
//! Storage keys begin with the token ([`crate::partitioning::storage_key()`]), so the order of a scan is that of the ring:
//! token order, which on a byte-ordered cluster is key order. A place in it is a key, and says nothing about nodes: so it
//! means the same on every coordinator, after a restart, and on a ring that has changed meanwhile. A key that is there all
//! the time is in exactly one page, whoever holds it; one that comes or goes meanwhile may be in one or in none.
//!
//! A token range is a segment with its neighbours if they have the same replicas: on a cluster of no more nodes than the
//! factor, the whole ring is one. Otherwise there are as many as virtual nodes, thousands, most of them empty in a small
//! table. They are read in order, the first alone, then twice as many at once each time as long as they hold little; once
//! they have shown how much they hold, as many as the page is likely to need (Apache Cassandra's `RangeCommandIterator`
//! estimates alike). What is read beyond the page's end is thrown away. Rejected: asking each node once for all its ranges,
//! since replica sets differ from range to range and levels are met for each set apart.
//!
//! Reading order: [`bounds`], [`segments`], [`pace`], [`page_token`].

pub mod bounds;
pub mod pace;
pub mod page_token;
pub mod segments;

pub use bounds::{Bounds, BoundsError};
pub use pace::Pace;
pub use page_token::{PageToken, PageTokenError, Place};
pub use segments::{Segment, segments};
