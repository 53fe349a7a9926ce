//! Membership: who is in the cluster, which of them is up, and how a node becomes one of them.
//!
//! Every node keeps a [`View`] of all members and tables. Once per interval, and when they meet, two nodes send each
//! other all they know (an [`Exchange`]) and merge it: of two descriptions of a member the higher (generation,
//! version), which only the member itself counts up. So views converge whatever is repeated, late or lost. A view
//! forgets no member: it is durable before it is acted upon, and a node that is down stays in it. The plain exchange
//! costs n² messages of n facts; scuttlebutt gossip sends digests and differences to a few peers instead, and can
//! take its place without touching the merge.
//!
//! A member is *up* while this node's connection to it is ([`Liveness`]): a lost or refused one makes it down, an
//! answer makes it up, mere silence leaves it. What a member sends makes it up too, unless a call has failed since:
//! then it is called at once, and that call decides. Phi accrual takes that place later.
//!
//! # How a cluster begins
//!
//! One node draws the cluster id and is normal at once ([`Formation`]). Facts do not cross the boundary of a cluster:
//! one that belongs to a cluster takes from a node without one only what it says of itself, and a node without one
//! takes nothing, until an exchange with a cluster id *lists it*. Then it takes everything, and belongs too; if it cannot
//! believe all of it, it takes nothing and does not belong.
//!
//! # Why a joining node misses no write
//!
//! Without streaming, a node may own ranges only if nothing was written that it did not get. It announces itself as
//! joining, and owns its ranges ([`Join`]) when every member that it knows has sent it an exchange which lists it and
//! says that its sender has no user records. Three orders make this sound:
//!
//! ```text
//!   member M that answers J                        coordinator C of a write
//!   1. merge J's exchange: J is in the view        1. set "has user records", durably
//!      (durable, seen by M's own requests)         2. read the view, place, send
//!   2. list the view      ┐ the answer, in
//!   3. read the flag      ┘ this order
//! ```
//!
//! *A coordinator that J knows.* Take C = M. If C's write does not go to J, C read its view (C2) before J was in it
//! (M1); so its flag was set (C1) before it was read (M3), and the answer says so: J stays joining. This is Dekker's
//! argument and needs its fences: steps on both sides under one lock, or sequentially consistent.
//!
//! *A coordinator that J does not know.* J has the answers of all members it knows, and those include the chain by
//! which it came in, up to the node that formed the cluster. C came in by such a chain too, from the same root. Follow
//! it down to the first member I that J does not know; whoever introduced I is known to J, and has answered J. Had it
//! listed I by then, J would know I. So it listed I after it listed J, and the first exchange that made I belong
//! contained J, as did everything that I told those who came by it, C included. So C knew J before it could
//! coordinate, and its writes go to J as to any joining node ([`crate::placement`]).
//!
//! The argument leans on: facts taken whole (an exchange with a member that J does not believe is not clean); views that never shrink, restarts included (durable *before* the answer is sent); a node that
//! coordinates only once it belongs; belonging only by an exchange that lists the node. An answer once clean stays
//! clean: what its sender coordinates later goes to J. Rejected: asking only the seeds (a write by any other member is
//! missed), a grace period (a guess about the slowest message).
//!
//! # Why nobody reads past a new owner's writes
//!
//! Others hear later that J owns its ranges, and until then read them from the former owners. So J is *settling* first:
//! writes go to the former owners too ([`crate::placement`]). It becomes normal, and they are let go, when every member
//! that it knows has sent it an exchange which lists it as an owner: those read from J. One that J does not know reads
//! from J as well, by the argument above with "lists J as an owner" in place of "lists J".
//!
//! # What arrives is not trusted
//!
//! Facts come from the network. [`member::Flaw`] names what is not believed: malformed or oversized members, tokens
//! of another member, a generation more than a year ahead. Such a fact is ignored and reported, its neighbours are
//! taken. A node never believes others about itself: if they hold a newer description, it outbids it.
//!
//! Reading order: [`member`], [`view`], [`changes`], [`liveness`], [`clock_watch`], [`formation`], [`join`],
//! [`handshake`].

pub mod changes;
pub mod clock_watch;
pub mod formation;
pub mod handshake;
pub mod join;
pub mod liveness;
pub mod member;
pub mod view;

pub use changes::{Changes, Note};
pub use clock_watch::ClockWatch;
pub use formation::{Formation, FormationVerdict};
pub use join::{Join, JoinVerdict};
pub use liveness::{CallFailure, Liveness, SignOfDeath, SignOfLife};
pub use member::{Exchange, Flaw, Member, MemberState};
pub use view::{Remembered, View};
