//! Quorums: acknowledgements and answers in, a verdict out.
//!
//! With N replicas, W of them acknowledging a write and R of them answering a read, W + R > N makes every read meet
//! the last acknowledged write in at least one replica (Gifford, "Weighted Voting for Replicated Data", SOSP 1979,
//! §3). [`required()`] turns a level into W or R; a [`WriteQuorum`] or [`ReadQuorum`] is then told what each replica
//! did, and says when the request may be answered.
//!
//! ```text
//!   required(level, factor) ──▶ new(…, candidates) ──▶ Unavailable: fewer candidates than required, nothing was sent
//!                                      │
//!     on_ack │ on_answer │ on_failure  ▼
//!   ────────────────────────────▶  verdict ──▶ Reached      as many as required
//!                                     ├──────▶ OutOfReach   required + failures > candidates: waiting is pointless
//!                                     └──────▶ Pending      on_deadline() ends it
//! ```
//!
//! *Candidates* are the replicas that the request is sent to: natural and pending ones that are alive for a write,
//! natural ones for a read. *Pending replicas* raise what a write requires by one each, and their acknowledgements
//! count like any other. So, of `required + pending` acknowledgements, at least `required` are left in the replica
//! set of before the join, and at least as many in the one after it: each pending replica displaces one natural
//! replica at most. Rejected: requiring the acknowledgement of the pending replica itself, which would turn a slow
//! joiner into failed writes.
//!
//! A replica *counts once, ever*: its first word holds, whatever is repeated or comes late. What is missing decides
//! the error: silence and lost connections make it a timeout, since such a replica may still have done it; a
//! failure is said only if all missing answers were error answers.
//!
//! Reading order: [`block_for`], [`tally`], [`write`](mod@write), [`read`].

pub mod block_for;
pub mod read;
pub mod tally;
pub mod write;

pub use block_for::{Operation, required};
pub use read::ReadQuorum;
pub use tally::{Missing, Verdict};
pub use write::WriteQuorum;
