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
//! A byte-ordered cluster ([`Partitioner::ByteOrdered`]) takes the first eight bytes of a key for its token, read as a
//! number: the order of tokens is that of keys, and a token range is a range of keys. Tokens stay eight bytes on the
//! wire, on disk and in storage keys, whose order by (token, key) is the order of keys then. The price is that keys which
//! share eight bytes cannot be told apart by a ring. Shares of ownership assume that first eight bytes are spread
//! evenly, which no real keys are. Rejected: tokens that are whole keys (Cassandra's), which make every token in
//! memory, in gossip and in the header of a range a byte string, for a partitioner that its manual advises against.
//!
//! Storage keys begin with the token ([`storage_key()`]), so that a token range is one scan of the engine.
//!
//! Reading order: [`token`], [`partitioner`], [`topology`], [`ring`], [`mod@storage_key`],
//! [`key_range`].

pub mod key_range;
pub mod partitioner;
pub mod ring;
pub mod storage_key;
pub mod token;
pub mod topology;

pub use key_range::KeyRange;
pub use partitioner::Partitioner;
pub use ring::{Range, Ring, RingEntry};
pub use storage_key::{StorageKeyError, StorageKeyParts, split_storage_key, storage_key, token_of};
pub use token::{Token, draw_tokens};
pub use topology::{Datacenter, Location, Rack, Topology};
