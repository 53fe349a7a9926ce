//! The commit log: where a mutation becomes durable before anyone is told that it is.
//!
//! # Group commit
//!
//! [`apply`](crate::Engine::apply) only queues. The commit step takes everything that waits as one group,
//! writes it with one call, syncs it, inserts the mutations into their memtables and releases their tickets.
//! While the disk works the next group gathers, so the busier the engine the more writers share a sync
//! (DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984, §5). There is
//! no timer: a lone writer waits for one write and one sync.
//!
//! Since a mutation enters its memtable only after its sync, no reader sees what a crash could take back (in
//! group mode). And since nobody but the commit step inserts, the log positions of what a memtable holds
//! are one contiguous range, and a memtable that is switched between two groups has no writer left inside:
//! waiting for writers is waiting for the commit step's lock.
//!
//! Rejected: a log per table (a sync each); acknowledging from the applying thread after its own sync (no
//! sharing without timers); one frame per group (a mutation is what must be all or nothing, and a frame per
//! mutation gives damage an address).
//!
//! # Layout
//!
//! ```text
//! commit-<id, 16 hex digits>.log        preallocated; ids are contiguous
//!   header   magic "HELENLOG", durable and predecessor end, see `header`
//!   group    group header ‖ mutation ‖ mutation ‖ …                                          frames, see `frame`
//!            kind 1: durable position u64     everything before it was durable when the group was written
//!            kind 2: table id u32, mutation
//!   …
//!   seal     kind 3, empty                    the engine was closed: everything before it was durable
//! ```
//!
//! A segment is created after its predecessor was synced: under a temporary name, with a header that says
//! where the predecessor ends, synced, then renamed. Since it is preallocated, a full disk shows there, before
//! anything of a group is written.
//!
//! # Torn tail or rot
//!
//! A crash may leave any part of what was not synced, so the end of the log can be torn. Elsewhere an invalid
//! frame means that the disk changed its mind: rot, and the engine refuses to start and names the place,
//! since cutting there would silently drop acknowledged writes. An invalid frame is
//!
//! - rot, if it lies before the end that the segment's successor records;
//! - in the last segment rot, if the segment's own header, or a valid group header or seal further on, says
//!   that the place was durable;
//! - else a torn tail: the log ends there, and the next segment will say so. Nothing behind the recorded end
//!   is looked at again, and nothing of it is overwritten.
//!
//! What no one can tell apart is the last group: if it was synced, and rotted before anything was written
//! after it, it looks torn. [`close`](crate::Engine::close) seals, so an engine that was closed has no such
//! group. Of a torn group the valid mutations before the damage are kept: nobody was told that they are
//! durable, nor that they are not.
//!
//! Rejected: ending a segment with a frame in it. Recovery would have to write that frame, and write again
//! what it is not sure of, in the midst of bytes that may be all there is of an acknowledged write.
//!
//! # What is replayed
//!
//! The manifest knows for each table the position up to which it is flushed, and replay skips what is before.
//! That is not only faster: a flushed tombstone may have been purged together with what it deletes, and
//! replaying a record from before it would bring the deleted value back. Segments of which every table has
//! flushed everything are removed, after the manifest says so durably; a missing segment that it does not
//! call removed is rot.
//!
//! Reading order: `frame`, `header`, `segment`, `queue` and `ticket` (what waits), `writer`, `replay`.

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod segment;
mod ticket;
pub(crate) mod writer;

pub use segment::{LogPosition, SegmentId};
pub use ticket::Ticket;
