//! Digests of records, so that replicas which agree need not send the same value twice.
//!
//! A digest is the 128-bit xxh3 of the record's encoding as of the read's clock, the same on every node: what has expired
//! is digested without its value, and what counts as nothing like nothing at all.

use helenus_storage::Record;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::time::Timestamp;

/// The one clock of a read: all its answers are judged by it, on whichever node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsOf {
    /// What expires at it or before has expired.
    pub now: Timestamp,
    /// A tombstone of before is past its grace: any replica may have forgotten it, so it counts as nothing.
    pub forgotten_before: Timestamp,
}

impl AsOf {
    /// What a reader sees of a record.
    pub fn see(&self, record: Option<&Record>) -> Option<Record> {
        let seen = record?.clone().as_of(self.now);
        let is_forgotten =
            seen.value().is_none() && seen.end().is_some_and(|end| end < self.forgotten_before);
        (!is_forgotten).then_some(seen)
    }
}

/// A short name of what a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub u128);

impl Digest {
    /// Of nothing.
    pub const NOTHING: Self = Self(0);

    /// Of a replica's newest version.
    pub fn of(record: Option<&Record>, as_of: &AsOf) -> Self {
        let Some(seen) = as_of.see(record) else { return Self::NOTHING };
        let mut bytes = Vec::with_capacity(seen.encoded_len());
        seen.encode(&mut bytes);
        Self(xxh3_128(&bytes))
    }
}
