//! The memtable: the newest record of each key, in memory, ordered.
//!
//! One node per key, and the record in a cell of it, because overwriting a key of `crossbeam_skiplist` 0.1.3
//! is not atomic for readers: `insert` unlinks the old node before it links the new one, and a reader in
//! between would fall through to an older record in an SSTable. So a node is never replaced; its record is
//! reconciled under the node's own lock. Rejected: versions as part of the key, which leave garbage on hot
//! keys and buy snapshots that nobody asks for.
//!
//! Any number of threads inserts at once. Two of them may both make a node for a new key, and the list drops
//! one of the two: so a node is linked with an empty cell, which reads as absent, and whoever locks the cell
//! first fills it and accounts for the node.
//!
//! # Who is still inside
//!
//! A writer enters the active memtable while it holds the log's lock ([`Memtable::enter`]), and inserts later,
//! without it. A memtable is switched under the same lock, so nobody enters one that is switched, and it is
//! complete once all who entered have left: the flush waits for that ([`Memtable::await_writers`]).
//!
//! # Layout
//!
//! ```text
//! node   references, tower │ first 16 bytes of the key, big endian │ rest of the key ─► │ lock, record ─►
//! ```
//!
//! The first bytes of a key lie in the node, so that most comparisons on the way to a key do not follow a pointer:
//! that is where an insert into a large list spends its time. The record is encoded, as in the log: that takes half the
//! memory of the parts it would be decoded to, a buffer more to be freed after a flush none at all, and what a reader
//! gets is a copy of its own, so that reads do not make a memtable larger. Rejected: a buffer for many records, freed
//! at once, in which a key that is overwritten again and again leaves its garbage.
//!
//! Reading order: `key`, `list`, `walk`.

mod key;
mod list;
mod walk;

pub(crate) use list::{Memtable, Writer};
pub(crate) use walk::MemtableIter;
