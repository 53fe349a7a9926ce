//! Hinted handoff: a write that a replica missed is kept for it, and given to it when it is back.
//!
//! DeCandia et al., "Dynamo" (SOSP 2007), §4.6; what is kept, for how long and who gets it follows Apache Cassandra.
//!
//! ```text
//!   coordinator: a replica was down, failed or said nothing ──▶ Hint ──▶ the run of that replica, durable
//!                                                                          │ it is up, and grants some bytes
//!   replica: apply, as any write; never refused by a clock  ◀──────────────┘ oldest first, then the cursor moves on
//! ```
//!
//! # Runs
//!
//! Hints for one target are numbered in a *run*, a tree of the engine that nothing else is in. A run takes hints until it
//! is large or old; later ones go to the next run. What of it was delivered is behind the run's *cursor*, which is saved
//! after each message, since to apply a hint twice is to apply it once. A run that is done is dropped as a whole. So no
//! hint is ever deleted: there are no tombstones to read past, and nothing to compact.
//!
//! # What becomes of a hint
//!
//! Each is, once, one of these, by [`Hint::fate`] when its turn comes:
//!
//! - *delivered* to its target;
//! - *moved*: the target does not own the key any more, so the present owners get it instead, as hints of their own that
//!   are as old as this one;
//! - *superseded*: its table was dropped;
//! - *expired*: it is older than the window, or than the grace of its table's tombstones, now or when it was made. Beyond
//!   the grace it could bring a deleted value back that only a purged tombstone would have hidden. Twice the drift that
//!   clocks are allowed is taken off the grace, and ages are told by a clock that never goes back. Given up like one that
//!   has expired is a hint that its target refused again and again, and one whose key has no owner.
//!
//! An expired hint, and one for which there was no room, leaves a [`RepairMark`], durably, before it is forgotten: that the
//! target lacks something of that table since then. A hint that was lost in silence would be found by nobody. A mark ends
//! when its table is dropped, or when an operator says that the member was repaired; time alone brings nothing back, so no
//! mark expires.
//!
//! # Who is sure of one
//!
//! A write is acknowledged to its client once the hints for all replicas that are known to lack it are durable, or the marks
//! of those that are not kept: for replicas that were down, and for those that answered with an error or whose connection was
//! lost before the level was met. It costs little, since the hints wait for the same sync as the write of the coordinator's
//! own replica. Not covered by it is that own replica if it has failed, which is tried again, nor one that refused a write by
//! its clock, of which is judged when all have answered; nor a live replica that is late: it mostly has the write already, and its hint is made when
//! its time is over; what a coordinator that is killed before leaves unsaid a read of the key finds, and anti-entropy will.
//! Nor is a hint or a mark that the disk refuses, or takes longer for than the request may last: the level is what was asked
//! for, and it is met.
//!
//! # Pace
//!
//! A node that was down for an hour comes back to the hints of all others at once. So it is the receiver that says how
//! much it takes ([`Grants`]): from few senders at a time, and nothing while its storage is under pressure.
//!
//! Rejected: files of their own (Cassandra's), a second log to make durable, recover and check, beside one that does all
//! that; one tree for the hints of all targets, in which a target that stays away keeps those of the others from being
//! dropped; a rate that the sender limits, which is too much for a node that replays its log and too little for one that
//! is idle.
//!
//! Reading order: [`hint`], [`grants`], [`mark`]; then [`crate::node`], which keeps and sends them.

pub mod grants;
pub mod hint;
pub mod mark;

pub use grants::{Grant, Grants};
pub use hint::{Fate, Hint, Life};
pub use mark::RepairMark;
