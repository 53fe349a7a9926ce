//! Quorums: acknowledgements and answers in, a verdict out.
//!
//! With N replicas, W of them acknowledging a write and R of them answering a read, W + R > N makes every read meet
//! the last acknowledged write in at least one replica (Gifford, "Weighted Voting for Replicated Data", SOSP 1979,
//! §3). [`BlockFor`] says what a level requires of the replicas; a [`WriteQuorum`] or [`ReadQuorum`] is then told what
//! each replica did, and says when the request may be answered.
//!
//! ```text
//!   BlockFor::of(level, replication) ──▶ new(…, replicas) ──▶ Unavailable: too few are alive, nothing was sent
//!                                              │
//!             on_ack │ on_answer │ on_failure  ▼
//!           ────────────────────────────▶  verdict ──▶ Reached      as many as required
//!                                             ├──────▶ OutOfReach   required + failures > candidates: why wait
//!                                             └──────▶ Pending      on_deadline() ends it
//! ```
//!
//! With a factor of N in all datacenters together, n in that of the coordinator and n₁, n₂, … in each:
//!
//! ```text
//!   level                              requires              of                       and of pending replicas
//!   any                                1                     all                      none
//!   one, two, three, a number          that many             all                      all
//!   quorum                             N/2 + 1               all                      all
//!   all                                N                     all                      all
//!   local_one                          1                     its datacenter           those there
//!   local_quorum                       n/2 + 1               its datacenter           those there
//!   each_quorum                        n₁/2 + 1, …           each datacenter apart    in each those there
//! ```
//!
//! Rounded down; the formulas are Apache Cassandra's. A table of class `simple` does not say how many replicas are where, so
//! to it the cluster is one datacenter: local_one is one, local_quorum and each_quorum are quorum (Cassandra counts local
//! acknowledgements up to the quorum of all replicas there, and may find too few of them forever).
//!
//! *Candidates* are the live replicas whose answers count: natural and pending ones for a write, natural ones for a
//! read. A write is sent to all that are alive, also where they do not count. *Pending replicas* raise what a write
//! requires by one each, and their acknowledgements count like any other. So, of `required + pending` acknowledgements, at
//! least `required` are left in the replica set of before the join, and at least as many in the one after it: each
//! pending replica displaces one natural replica at most, and one of its own datacenter, where the table tells
//! datacenters apart. Rejected: requiring the acknowledgement of the pending replica itself, which would turn a slow
//! joiner into failed writes. Level `any` does without: it promises no read anything, and a hint may satisfy it alone.
//!
//! A replica *counts once, ever*: its first word holds, whatever is repeated or comes late. What is missing decides
//! the error: silence and lost connections make it a timeout, since such a replica may still have done it; a
//! failure is said only if all missing answers were error answers.
//!
//! Reading order: [`block_for`], [`overlap`](mod@overlap), [`tally`], [`write`](mod@write), [`read`], [`pages`], [`range`],
//! [`repair`].

pub mod block_for;
pub mod digest;
pub mod overlap;
pub mod pages;
pub mod range;
pub mod read;
pub mod repair;
pub mod speculation;
pub mod tally;
pub mod write;

pub use block_for::{BlockFor, Operation, Part};
pub use digest::{AsOf, Digest};
pub use overlap::{Overlap, overlap};
pub use pages::{PageLimits, Reconciled, ReplicaPage};
pub use range::RangeQuorum;
pub use read::{Answer, Ask, ReadQuorum, Wants};
pub use repair::RepairQuorum;
pub use tally::{Missing, Replica, Verdict};
pub use write::WriteQuorum;
