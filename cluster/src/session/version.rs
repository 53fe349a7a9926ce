//! Which version of a key it is, in the few bytes that a token has for it.

use std::cmp::Ordering;

use helenus_storage::{Record, RecordKind};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::time::Timestamp;

/// A version, by all that reconciling goes by ([`Record::supersedes`]) but the bytes of its value: of these it has a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// When it was written.
    pub timestamp: Timestamp,
    pub(super) kind: Kind<Timestamp>,
    pub(super) value: ValueDigest,
}

/// The kinds of records, in the order in which they win at one timestamp; of one kind the later end wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind<End> {
    Plain,
    /// It expires at this end, or has expired.
    Expiring(End),
    /// It was deleted at this end.
    Tombstone(End),
}

impl<End> Kind<End> {
    pub(super) fn map<T>(self, change: impl FnOnce(End) -> T) -> Kind<T> {
        match self {
            Self::Plain => Kind::Plain,
            Self::Expiring(end) => Kind::Expiring(change(end)),
            Self::Tombstone(end) => Kind::Tombstone(change(end)),
        }
    }
}

/// Of the value: xxh3, cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ValueDigest(u32);

impl ValueDigest {
    /// A deletion, or what has expired.
    const NO_VALUE: Self = Self(0);
    /// The newest of several values, nobody has said which.
    const UNDECIDED: Self = Self(1);

    fn of(value: &[u8]) -> Self {
        Self((xxh3_64(value) as u32).max(2))
    }
}

impl Version {
    /// Which version a record is.
    pub fn of(record: &Record) -> Self {
        let kind = match record.kind {
            RecordKind::Plain { .. } => Kind::Plain,
            RecordKind::Expiring { expires_at: end, .. } | RecordKind::Expired { expired_at: end } => {
                Kind::Expiring(end)
            }
            RecordKind::Tombstone { deleted_at } => Kind::Tombstone(deleted_at),
        };
        let value = record.value().map_or(ValueDigest::NO_VALUE, |value| ValueDigest::of(value));
        Self { timestamp: record.timestamp, kind, value }
    }

    /// Whether it, which is decided, is `other` or wins over it; `None` if only the bytes of their values could tell.
    pub(super) fn is_as_new_as(&self, other: &Self) -> Option<bool> {
        match (self.timestamp, self.kind).cmp(&(other.timestamp, other.kind)) {
            Ordering::Less => Some(false),
            Ordering::Greater => Some(true),
            // What has expired wins over what has yet to, at the same end.
            Ordering::Equal if self.value == ValueDigest::NO_VALUE => Some(true),
            Ordering::Equal => (self.value == other.value).then_some(true),
        }
    }

    /// The newest of several versions of which only the bytes of their values could tell.
    pub(super) fn undecided(self) -> Self {
        Self { value: ValueDigest::UNDECIDED, ..self }
    }
}
