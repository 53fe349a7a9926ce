//! What of a table is scanned, in a client's words.

use bytes::Bytes;

use crate::partitioning::{KeyRange, Partitioner, storage_key};

/// The keys that a client wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Begin with this key, whether it is there or not: on murmur3 with its place in token order.
    pub start: Option<Bytes>,
    /// Only keys that begin with these bytes.
    pub prefix: Option<Bytes>,
    /// Only keys below this one.
    pub end: Option<Bytes>,
}

/// A bound that the cluster's order of keys has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{field}` needs a byte-ordered cluster: this one is in token order, which scatters neighbouring keys"
)]
pub struct BoundsError {
    /// The bound.
    pub field: &'static str,
}

impl Bounds {
    /// The storage keys within these bounds.
    ///
    /// # Errors
    /// [`BoundsError`] for prefix or end where keys are not in their own order.
    pub fn range(&self, partitioner: Partitioner) -> Result<KeyRange, BoundsError> {
        let Self { start, prefix, end } = self;
        if partitioner != Partitioner::ByteOrdered {
            let fields = [("prefix", prefix.is_some()), ("end", end.is_some())];
            if let Some((field, _)) = fields.into_iter().find(|(_, is_given)| *is_given) {
                return Err(BoundsError { field });
            }
        }
        let place = |key: &[u8]| storage_key(partitioner.token(key), key);
        let lower = start.iter().chain(prefix).max();
        let behind_prefix = prefix.as_deref().and_then(behind_prefix);
        let upper = end.as_deref().into_iter().chain(behind_prefix.as_deref()).min();
        Ok(KeyRange { from: lower.map(|key| place(key)).unwrap_or_default(), until: upper.map(place) })
    }
}

/// The lowest key behind all that begin with these bytes; `None` if there is none.
fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}
