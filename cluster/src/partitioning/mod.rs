//! Partitioning: which node owns a key.
//!
//! A [`Partitioner`] hashes a key to a [`Token`], a point on a circle of 2^64. Every member of the cluster has
//! drawn some tokens of its own ([`draw_tokens`]; several, so that a node that leaves or joins shares its load
//! with many others instead of one neighbour), and all of them in order are the [`Ring`]. The node with token `t`
//! owns the range `(prev, t]`, where `prev` is the token before it; the range of the lowest token wraps around.
//!
//! ```text
//!              -2^63 ≡ 2^63
//!         n2 ●──────┴──────● n1        key ──murmur3──▶ token x
//!          /                \          owner = member of the first token ≥ x, clockwise
//!      n3 ●                  ● n2      a key whose token *is* t belongs to t: the end is inclusive,
//!          \      x →       /          as in Cassandra, whose drivers compute the same ring
//!         n1 ●─────●───────● n3
//! ```
//!
//! Consistent hashing: Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), §4; several tokens per
//! node: DeCandia et al., "Dynamo" (SOSP 2007), §6.2.
//!
//! The hash is Cassandra's variant of Murmur3, not a faster one: drivers of its protocol compute tokens themselves
//! and go to the right node only if theirs are ours. Rejected: textbook Murmur3, which differs for every key with
//! a byte ≥ 0x80 in its tail; fixed slots (Redis Cluster), which need an agreed slot map to move.
//!
//! Storage keys begin with the token ([`storage_key()`]), so that a token range is one scan of the engine.
//!
//! Reading order: [`token`], [`partitioner`], [`topology`], [`ring`], [`mod@storage_key`].

pub mod partitioner;
pub mod ring;
pub mod storage_key;
pub mod token;
pub mod topology;

pub use partitioner::Partitioner;
pub use ring::{Range, Ring, RingEntry};
pub use storage_key::{StorageKeyError, StorageKeyParts, split_storage_key, storage_key, token_of};
pub use token::{Token, draw_tokens};
pub use topology::{Datacenter, Location, Rack, Topology};
