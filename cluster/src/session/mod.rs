//! Sessions: whoever sends back what the last reply gave it never reads older than it wrote or read, at any level and
//! through any coordinator.
//!
//! The four guarantees of Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994), §2, for
//! the keys of one session: read your writes, monotonic reads, and, since a coordinator stamps a session's write above
//! all that the session knows, monotonic writes and writes that follow reads. Nothing is kept on any node: the client
//! carries it.
//!
//! ```text
//!   token ──> Session ──── demand(key) ──> Demand ── is it met by who has answered? ──┬─ yes: answer
//!               │ ▲                                                                   └─ no: ask more replicas
//!               │ └────────────── note(Observed) <── reply of a read or write
//!               ▼
//!             token      listed keys, each with its newest timestamp │ floor: one timestamp, and who holds it
//! ```
//!
//! A token has room for some keys. When it is full, the key with the oldest timestamp *folds* into the floor: of it is
//! then only known that its newest timestamp is at most that of the floor, and that it was written or read at one of
//! the floor's levels. What is compared is the timestamp alone: of two versions with one timestamp each is as old as the
//! other.
//!
//! # Why it holds
//!
//! Let v be the newest timestamp of a key that the session wrote (acknowledged) or read.
//!
//! *A listed key* has v beside it ([`Session::note`] only raises it). A read is answered only with a version whose
//! timestamp is v or higher; nothing is assumed about who holds it. There is one exception: a version that is older than the
//! table's grace may be superseded by a tombstone which no replica keeps any more, so if all replicas have answered
//! and none has anything that counts, absent is the answer.
//!
//! *An unlisted key*, while there is a floor, has v ≤ floor, or was never met by this session. Where the answer's
//! timestamp is the floor's or higher, it is v or higher. Else the read goes on until, for each level of the floor,
//! fewer replicas are unheard than the level required in one place (W + R > N, [`crate::quorum`]; R counts those who
//! have in fact answered). So one of those that held v is heard. It still holds v or newer, since a replica never goes
//! back; and the answer is the newest of all answers. That those replicas held v is what the level promised: a write was
//! acknowledged by as many, and a read is answered only when as many hold what it answers (see the page of the
//! coordinator's `reading`). A hint is no replica: a write at level any that only a hint holds folds into a floor that no
//! set of replicas meets.
//!
//! *A key that is listed again* was read as an unlisted one before, so that its timestamp is v or higher; or it was
//! written with a timestamp above the floor. A write with a lower timestamp of the client's own stays unlisted.
//!
//! *Clocks* decide nothing here: timestamps are compared with timestamps only, so a clock that jumps changes nothing for
//! reads. A coordinator stamps a session's write above every timestamp of the session, those of its writes whose
//! outcome is unknown included, or refuses it: so the session's next write never loses to its last.
//!
//! What it does not cover: a floor trusts that the replicas of a key are those of before, or have been given what they
//! hold, and that no replica has missed a tombstone for longer than its grace. Listed keys need no such trust.
//!
//! Rejected: a vector of one clock per node, which grows with the cluster and says nothing at level one; a floor for
//! everything, which makes each read a quorum read; sessions kept on the coordinator, which end with it.
//!
//! Reading order: [`held`], [`state`], [`demand`], [`token`].

pub mod demand;
pub mod held;
pub mod state;
pub mod token;

pub use demand::Demand;
pub use held::Held;
pub use state::{Observed, Session, key_hash};
pub use token::{MAX_TOKEN_BYTES, TokenError};
