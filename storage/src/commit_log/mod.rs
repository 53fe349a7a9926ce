//! The commit log: where a mutation becomes durable before anyone is told that it is.
//!
//! # Group commit
//!
//! What is written with one call is a group. A thread that may block ([`Engine::apply_and_wait`](crate::Engine)) writes
//! its own; what async callers queue ([`apply`](crate::Engine::apply)) the commit step writes as one. Either way:
//!
//! ```text
//! log's lock   append to the segment, enter the memtables
//! no lock      wait for a sync that covers it, make it if nobody does ── insert ── tell
//! ```
//!
//! While one sync runs, others append, and the next one covers them all, so the busier the engine the more writers
//! share a sync (DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984, §5). There
//! is no timer; in mode `group` whoever syncs lets others run for a moment first, as long as they append, since those
//! whom the last sync woke are about to. In mode `batch` it does not. A lone writer pays for one write and one sync,
//! and no change of threads.
//!
//! Since a mutation enters its memtable only after its sync, no reader sees what a crash could take back (in
//! group and batch mode). Who has appended and not inserted yet counts as being inside the memtable, and a switched
//! memtable is flushed when nobody is inside: so what a flush calls flushed is in the SSTable.
//!
//! Rejected: a log per table (a sync each); leaders that insert for their followers (those are awake anyway, and insert
//! on all cores at once); a frame per batch (a group is lost or kept as a whole anyway, as far as its writers can tell, and
//! the head of a frame is dear beside a small record); writing through a memory map (no system call, but an I/O error kills the process).
//!
//! # Layout
//!
//! ```text
//! commit-<id, 16 hex digits>.log        preallocated; ids are contiguous
//!   header   magic "HELENLOG", durable, salt, see `header`
//!   start    kind 4: predecessor's end u64, its predecessor's end u64                       frames, see `frame`
//!   start    the same once more: one of the two is enough
//!   group    kind 1: claim, 0..n × (table id, mutation)      what was written with one call, and what was durable then
//!   …
//!   seal     kind 3: claim                    the engine was closed: everything before it was durable
//!   …        anything: zeros, or what the file held when it was another segment
//! commit-<id>.spare                     not needed any more, kept to be used again
//! ```
//!
//! # The next segment
//!
//! A segment is made ahead of its use: filled with zeros (unless the mode is periodic) or out of a spare, with a header under a temporary name,
//! synced, renamed, the directory synced, and known to the manifest; it is used when its start is written,
//! together with its first group, after its predecessor was synced. So to go on in it costs a writer nothing, and since
//! all blocks of it were written before, its syncs concern data only. A full disk shows when a segment is made, before
//! anything of a group is written. A spare keeps its old bytes: each birth of a segment has a salt of its own
//! (see `segment`), so no old frame passes for one of this life, and what an old group claims to have been durable does
//! not even look like a claim (see `group`).
//!
//! Spares are for load: an engine at rest, with everything flushed, removes them. One that is closed then goes on in a
//! segment as small as its seal, so that the log of a directory at rest takes no room.
//!
//! A segment without a valid start was never durably used, and its predecessor is the last that counts. A damaged byte
//! cannot make one look like that: the start is written twice. The
//! next recovery leaves it behind and begins another, whose start frame says that nothing of it counts: hence the two
//! ends. There is never more than one such segment, since the next is made only once the start frame of the one that
//! is written to is durable.
//!
//! # Torn tail or rot
//!
//! A crash may leave any part of what was not synced, so the end of the log can be torn. Elsewhere an invalid
//! frame means that the disk changed its mind: rot, and the engine refuses to start and names the place,
//! since cutting there would silently drop acknowledged writes. An invalid frame is
//!
//! - rot, if it lies before the end that a later start frame records;
//! - in the last segment rot, if the segment's own header, a valid group or seal further on, or the manifest, which knows
//!   up to where tables are flushed, says that the place was durable;
//! - else a torn tail: the log ends there, and the next segment will say so. Nothing behind the recorded end
//!   is looked at again, and nothing of it is overwritten while the segment is needed.
//!
//! What no one can tell apart is what the last sync made durable, unless something was flushed since: if it rots before
//! anything is written after it, it looks torn, and so do other groups of that sync behind it.
//! [`close`](crate::Engine::close) seals, so an engine that was closed has nothing like that. Of a torn group nothing is
//! kept: nobody was told that it is durable. So it is as atomic as each of its batches has to be.
//!
//! Rejected: ending a segment with a frame in it. Recovery would have to write that frame, and write again
//! what it is not sure of, in the midst of bytes that may be all there is of an acknowledged write.
//!
//! # What is replayed
//!
//! The manifest knows for each table the position up to which it is flushed, and replay skips what is before.
//! That is not only faster: a flushed tombstone may have been purged together with what it deletes, and
//! replaying a record from before it would bring the deleted value back. Segments of which every table has
//! flushed everything are removed or become spares, after the manifest says so durably; a missing segment that it does
//! not call removed is rot. A flush makes the log durable up to where its memtable ends before the SSTable counts: a
//! batch may have another half, which is in the log alone.
//!
//! Reading order: `frame`, `header`, `segment`, `group`, `queue` and `ticket` (what waits), `writer`, `group_sync`, `replay`.

pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod group_sync;
pub(crate) mod header;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod segment;
pub(crate) mod ticket;
pub(crate) mod writer;

pub use segment::{LogPosition, SegmentId};
pub use ticket::{Outrun, Ticket};
