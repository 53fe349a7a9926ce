//! Membership: who is in the cluster, which of them lives, and how a node becomes one of them.
//!
//! ```text
//!   View      members (description, state, tokens) and tables; durable before it is acted upon; the ring is made of it
//!     ▲ merge                     ▲ merge
//!   Exchange  everything,       Rumors  digests first, then what differs; heartbeats in the digests; relays facts that
//!     while a node joins          │       it does not understand
//!                                 ▼ heartbeats
//!                               FailureDetector  φ ──> suspicion ──> probes, direct and through others ──> conviction
//! ```
//!
//! Every node keeps a [`View`] of all members and tables. Of two descriptions of a member the higher (generation,
//! version), which only the member itself counts up, wins: so views converge whatever is repeated, late or lost. A view
//! forgets no member: a node that is down stays in it. Descriptions reach it by two ways. In the steady state each node
//! gossips ([`gossip`]) with a peer or two per interval ([`rounds`]), with messages of bounded size, and news reaches
//! all in O(log n) rounds. Only a node that joins tells all it knows to every member, and is told (an [`Exchange`]): the
//! proofs below need each member to say itself that it lists the joining one. That costs n messages of n facts, once.
//! Two nodes that find that they differ in what gossip does not carry (tables) exchange everything as well.
//!
//! # Who lives
//!
//! The classic heartbeat scheme has each node keep a list of members with a counter of each. Every T_gossip it counts
//! up its own and sends the list to a random peer, which keeps the higher of each. Who is not heard of for T_fail is
//! taken for dead, and taken out of the list after T_cleanup = 2 T_fail, so that stale lists do not bring it back (van
//! Renesse, Minsky, Hayden: "A Gossip-Style Failure Detection Service", Middleware 1998, §2). Here T_gossip is the
//! gossip interval and heartbeats travel the same way. T_fail is none: suspicion grows with how unlikely a silence is
//! ([`phi`]), and needs probes, this node's and others', to become a conviction ([`probe`]). And there is no T_cleanup:
//! a dead member stays in the view and in the ring, since it owns data, until an operator removes it.
//!
//! What requests go by is [`Liveness`]: a member is *up* while this node's own calls reach it and it is not convicted.
//! A lost or refused connection makes it down at once, and is reason enough to probe it; an answer makes it up at
//! once. So a link that breaks sends requests elsewhere and convicts nobody; a process that is killed is down within a
//! round trip and convicted within a second or two; one that is merely silent is convicted after some seconds.
//!
//! # What is left of a removed member
//!
//! A removal ([`View::remove`]) puts a tombstone in the place of a member: its host id in the state
//! [`MemberState::Removed`], spread like any description. It wins over all that was and will be said of that host id,
//! whatever the generation, and is kept for ever: a node that slept through the removal, or the removed one itself,
//! cannot bring it back. Placement does not see it; nobody waits for it, calls it or listens to it, except to tell it
//! that it was removed. The only way back is an empty data directory, and so another host id. Rejected: forgetting
//! tombstones after a quarantine (Cassandra: 60 s for rumors, 72 h for the state), which brings the dead back whenever a
//! node was away for longer.
//!
//! # States of later builds
//!
//! No member of this build ever leaves by itself: that needs somebody to stream its ranges to, and a state that nothing
//! enters would be dead. But a later build has such states, and one node of it must not stop a cluster of this one. So a
//! state is a number on the wire and on disk; one that is not known ([`MemberState::Other`]) is kept, shown and passed on as
//! it came, and placement treats it as what most of them will be: the member still owns its ranges, and those who own them
//! without it get the writes already.
//!
//! # How a cluster begins
//!
//! One node draws the cluster id and is normal at once ([`Formation`]). Every other one asks all its seeds which cluster they
//! belong to before it says a word of itself, and shows itself to that one alone: to whoever lists it, it is a joining member
//! that writes wait for. Facts do not cross the boundary of a cluster:
//! one that belongs to a cluster takes from a node without one only what it says of itself, and a node without one
//! takes nothing, until an exchange of a member that owns ranges *lists it*. Then it takes everything, and belongs too; if it cannot
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
//! *A coordinator that was removed.* It is not waited for, so it may not have known J, and its writes may have gone to M
//! after M said that it has none. So a removal makes all that was said before worthless: J asks again, and counts an
//! answer only if it lists every removal that J knows. M sets "has user records" before it looks whether the sender of a
//! write was removed, and M lists the removal before it reads the flag: by Dekker's argument once more, either M turns the
//! write away, or it says that it has records. What only the removed member itself stored is lost with it.
//!
//! *What this leaves open.* The chain above leads through removed members too, and a removed one answers J no more. Let R
//! introduce X, and die before it has told anybody of X; let R be removed, and J join. Nobody lists X to J. If a replica M
//! has given J its clean answer, and X then writes to M without having heard of J, J misses that write. It takes all of
//! this: X knows, from R, every member that R knew, asks each of them for an exchange in its first round, and serves only
//! when a call to each has ended, or after two seconds; the first exchange that is answered tells it of J, and tells J of
//! it. So *no* member may have answered X by then, though its writes reach M a moment later, and all of it after the
//! removal and before X's next round, an interval later. Rejected: a replica that turns away the writes of senders that it
//! does not list. It closes this only if gossip with them is turned away too (a message of gossip may have no room for J),
//! and a joining node, which lists few at first, would refuse writes that count on it. An operator who removes a member that
//! has just introduced another is on the safe side once `admin status` of any other member shows the new one.
//!
//! Gossip may tell M of J, or J of M, before they meet: it changes views, durably and in one direction, and answers
//! nothing that this argument counts. Whoever belongs to no cluster does not gossip.
//!
//! The argument leans on: facts taken whole (an exchange with a member that J does not believe is not clean); views that never
//! shrink but by removals and evictions, restarts included (durable *before* the answer is sent); a node that coordinates only once it belongs; belonging only by an exchange that
//! lists the node. An answer once clean stays clean until a member is removed: what its sender coordinates later goes to J. Rejected: asking only the seeds (a write by any other member is
//! missed), a grace period (a guess about the slowest message).
//!
//! # Why nobody reads past a new owner's writes
//!
//! Others hear later that J owns its ranges, and until then read them from the former owners. So J is *settling* first:
//! writes go to the former owners too ([`crate::placement`]). It becomes normal, and they are let go, when every member
//! that it knows has sent it an exchange which lists it as an owner: those read from J. One that J does not know reads
//! from J as well, by the argument above with "lists J as an owner" in place of "lists J".
//!
//! # A joining member that is dead is evicted
//!
//! Writes of the ranges of a joining member wait for one acknowledgement more, also while it is dead: with three replicas,
//! QUORUM then takes all of them. Silence alone is no reason to leave it out. Let J have the clean answers of all, be cut off
//! with some of them, and settle: those who hear of it read from it and from one former owner of two. A write over here
//! that does without J reaches a quorum of the former owners, and those readers miss it. No timer closes this.
//!
//! But J needs the word of *everyone*, so one member that never gives it is enough. Let E belong to the cluster and have
//! user records, durably, when it hears of J for the first time. It never tells J that it has none, in no life of either.
//! And J knows E before it settles: otherwise E, or the first on its chain whom J does not know, was introduced by a member
//! that had listed J before (see above), so E has known J since it belongs, which it has not. So J cannot settle while E
//! is a member. Such an E evicts J ([`View::evict`]) once J is convicted and was not heard of for 30 s, which is when
//! Apache Cassandra gives up a node without tokens. It owns ranges itself, so nobody evicts it.
//!
//! That J is evicted spreads like a description, one generation above all that J has said; so nothing old brings it back, and
//! nobody calls J, writes to it or listens to it. If J was merely paused or cut off, it hears so from whomever it calls,
//! outbids it, and joins from the beginning: an answer counts only if it lists J in its new generation ([`Join`]), so
//! those of before are worth nothing. A J that starts again has a later generation anyway. What it missed meanwhile does
//! not matter, since it owns nothing.
//!
//! J coordinates too, and nobody waits for an evicted one: it may read from former owners of ranges, or write past their new
//! owner. So for the others' joins an eviction is what a removal is, and who settles becomes normal only when every
//! member turns J away. When J is listed again it must know better: it coordinates only once a member that owns ranges,
//! and so was not evicted itself, has listed it in its present generation, and told it all it knows by that. For the
//! same reason only such a member makes a node belong. A request that J began before it heard of its eviction is
//! answered as failed.
//!
//! If E is removed, its veto ends, but by the removal so do all clean answers that J has: it asks again, those who have heard
//! of the eviction do not list it, and those who list it have not let go of it.
//!
//! One that was heard of before the first record may have everybody's word already, and nobody can tell: it counts until an
//! operator removes it; `admin status` says what it costs and how to say it.
//!
//! # What arrives is not trusted
//!
//! Facts come from the network. [`member::Flaw`] names what is not believed: malformed or oversized members, tokens
//! of another member, a generation more than a year ahead. Such a fact is ignored and reported, its neighbours are
//! taken. A node never believes others about itself, but for its removal: if they hold a newer description, it outbids
//! it. Gossip of another cluster is not looked at. What is not believed is counted, and logged once per sender and
//! minute.
//!
//! Reading order: [`member`], [`view`], [`changes`], [`digest`], [`gossip`], [`phi`], [`probe`], [`rounds`],
//! [`liveness`], [`clock_watch`], [`formation`], [`join`], [`handshake`].

pub mod changes;
pub mod clock_watch;
pub mod digest;
pub mod formation;
pub mod gossip;
pub mod handshake;
pub mod join;
pub mod liveness;
pub mod member;
pub mod phi;
pub mod probe;
pub mod rounds;
pub mod view;

pub use changes::{Changes, Note};
pub use clock_watch::ClockWatch;
pub use digest::{Gossip, GossipAnswer, GossipReply, GossipRequest};
pub use formation::{Formation, FormationVerdict};
pub use gossip::Rumors;
pub use join::{Join, JoinVerdict};
pub use liveness::{CallFailure, Liveness, SignOfDeath, SignOfLife};
pub use member::{Exchange, Flaw, Member, MemberState};
pub use probe::{Belief, DetectorSettings, FailureDetector, Verdict};
pub use view::{Remembered, View};
