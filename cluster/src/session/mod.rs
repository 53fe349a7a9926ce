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
//!             token      listed keys, each with its newest version and who holds it │ floor: a timestamp, and who holds it
//! ```
//!
//! A token has room for some keys. When it is full, the key with the oldest timestamp *folds* into the floor: of it is
//! then only known that its newest timestamp is at most that of the floor, and that it was written or read at one of
//! the floor's levels.
//!
//! Versions with one timestamp are compared too, as far as a token tells them apart: by kind and end, as reconciling does,
//! and by a digest of the value ([`version`]). Two values of one kind and end are in the order of their bytes, of which the
//! digests say only that they are not the same.
//!
//! # Why it holds
//!
//! Let v be the newest version of a key that the session wrote (acknowledged) or read, in the total order of versions
//! ([`helenus_storage::Record::supersedes`]). A digest has 32 bits: two values that share one are taken for one.
//!
//! *A listed key* has v beside it. A read is answered only with v or what the token tells to be newer, whoever holds it; or,
//! where only the bytes of the values could tell, once it has *met* v. There is one exception: a version that is older than
//! the table's grace may be superseded by a tombstone which no replica keeps any more, so if all replicas have answered and
//! none has anything that counts, absent is the answer.
//!
//! *A read has met v* when fewer replicas are unheard than the level of v required in one place (W + R > N,
//! [`crate::quorum`]; R counts those who have in fact answered). So one of those that held v is heard. It still holds v or
//! newer, since a replica never goes back; and the answer is the newest of all answers. That those replicas held v is what
//! the level promised: a write was acknowledged by as many, and a read is answered only when as many hold what it answers
//! (see the page of the coordinator's `reading`). A hint is no replica: what only a hint holds is met by no set of
//! replicas, all of them included: the session is refused until it is answered, or what the token tells to be newer.
//!
//! *An unlisted key*, while there is a floor, has a v whose timestamp is at most the floor's, or was never met by this
//! session. Where the timestamp of the answer is higher than the floor's, the answer is newer than v. Else the read goes on
//! until it has met v at each level of the floor.
//!
//! *What is noted* ([`Session::note`]) only raises v. What was read once a demand was met is v or newer by all of the above,
//! also where the token could not tell. A write, or a read that was made without the session, may be older than v: where
//! the token cannot tell, it lists neither, but that v is one of them. Then no value of that timestamp, kind and end is taken
//! for v, and a read meets both, until the session has read which it is.
//!
//! *A key that is listed again* was read as an unlisted one before, so that it is v or newer; or it was written with a
//! timestamp above the floor. A write with a lower timestamp of the client's own, or the same, stays unlisted.
//!
//! *A value that expires* is met by what is left of it: at one end that supersedes every value. Who has read that it has expired,
//! and asks a coordinator whose clock is behind, has to meet it.
//!
//! *Clocks* decide nothing else: timestamps are compared with timestamps only, so a clock that jumps changes nothing for
//! reads. A coordinator stamps a session's write above every timestamp of the session, those of its writes whose
//! outcome is unknown included, or refuses it: so the session's next write never loses to its last.
//!
//! What it does not cover: whoever has to meet a version trusts that the replicas of its key are those of before, or have been
//! given what they hold, and that no replica has missed a tombstone for longer than its grace. Listed keys need no such
//! trust but where the token cannot tell.
//!
//! Rejected: a vector of one clock per node, which grows with the cluster and says nothing at level one; a floor for
//! everything, which makes each read a quorum read; sessions kept on the coordinator, which end with it.
//!
//! Reading order: [`version`], [`held`], [`state`], [`demand`], [`token`].

pub mod demand;
pub mod held;
pub mod state;
pub mod token;
pub mod version;

pub use demand::Demand;
pub use held::Held;
pub use state::{Observed, Session, key_hash};
pub use token::{MAX_TOKEN_BYTES, TokenError};
pub use version::Version;
