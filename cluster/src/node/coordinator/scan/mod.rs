//! Scans: one page of a table, in the order of the ring.
//!
//! ```text
//!   page token, bounds ──> where to begin
//!      ┌─────────────────────┘
//!      ▼
//!   the next segments of the ring of this moment, as many at once as the page seems to take
//!      │   each: ask as many replicas as the level needs ── late, failed: ask another one
//!      │         as many have answered ──> reconcile ──> write to those who lack something ──> as many hold it
//!      ▼
//!   taken in order, up to the first that was cut short ──> full, or the end of the ring? ── no: from there again
//!      │ yes
//!      ▼
//!   reply, and the place where the next page begins
//! ```
//!
//! A page is judged at the level like a read, segment by segment, all of them by one clock, and gives the same promise for
//! each key in it: as many replicas as the level requires hold the version that is answered, or a newer one. So stale
//! replicas that were asked are repaired before the answer, with one message each, by versions and not by digests; those
//! that were not asked are not looked at, since a page from each replica for each page of a client would cost more than it
//! mends.
//!
//! A page ends at its limits, and also where half its time is used up or a segment fails once another one has been taken:
//! what was read is answered, and the next page meets the failure first. So a scan of many segments gets somewhere on
//! every page, however short its deadline and whoever is down further on. Tombstones end a page and fail none.
//!
//! Bounded: `max_scans` scans at once (others wait for their turn), of each the segments and bytes of
//! [`Pace`](crate::scan::Pace), per replica. Pages travel and are read as background work ([`TrafficClass::Background`]),
//! so that they hold up no point read.
//!
//! Reading order: [`page`], [`segment`].
//!
//! [`TrafficClass::Background`]: crate::message::TrafficClass::Background

mod page;
mod segment;
