//! Versions of a key, and which of two the store must prefer.

use crate::history::{Action, Operation, Seen, Timestamp, ValueId};

/// A version as a write made it or a read saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) timestamp: Timestamp,
    pub(super) content: Content,
}

/// In the order in which the store prefers them at equal timestamps. The later of two expiries wins, which no client
/// knows to the microsecond: two expiring values are ordered here only to have some order, see
/// [`Version::must_lose_to`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    Plain(ValueId),
    Expiring(ValueId),
    Tombstone,
}

impl Version {
    /// Older than anything that can be written.
    pub(super) const ABSENT: Self = Self { timestamp: Timestamp(0), content: Content::Tombstone };

    /// What an acknowledged write or delete made.
    pub(super) fn acknowledged(operation: &Operation) -> Option<Self> {
        let timestamp = operation.timestamp?;
        let content = match operation.action {
            _ if !operation.is_ok_write() => return None,
            Action::Write { value, ttl_s: None, .. } => Content::Plain(value),
            Action::Write { value, ttl_s: Some(_), .. } => Content::Expiring(value),
            Action::Delete { .. } => Content::Tombstone,
            Action::Read => return None,
        };
        Some(Self { timestamp, content })
    }

    /// What an answered read saw. `None`: no answer, or bytes that are no version of ours.
    pub(super) fn seen(operation: &Operation) -> Option<Self> {
        if !operation.is_ok_read() {
            return None;
        }
        Some(match *operation.seen.as_ref()? {
            Seen::Value { value, timestamp, ttl_left_s } => {
                let content =
                    if ttl_left_s.is_some() { Content::Expiring(value) } else { Content::Plain(value) };
                Self { timestamp, content }
            }
            Seen::Tombstone { timestamp } => Self { timestamp, content: Content::Tombstone },
            Seen::Absent => Self::ABSENT,
            Seen::Garbage { .. } => return None,
        })
    }

    /// Whether the store, knowing both, must answer with `other`. At equal timestamps: tombstone, expiring, plain, larger
    /// bytes; an expired value is seen as a tombstone and loses to nothing here.
    pub(super) fn must_lose_to(&self, other: &Self) -> bool {
        match (self.content, other.content) {
            _ if self.timestamp != other.timestamp => self.timestamp < other.timestamp,
            (Content::Expiring(_), Content::Expiring(_)) => false,
            (mine, others) => mine < others,
        }
    }

    /// For sentences.
    pub(super) fn describe(&self) -> String {
        let timestamp = self.timestamp.0;
        match self.content {
            _ if *self == Self::ABSENT => "nothing at all".to_owned(),
            Content::Plain(value) | Content::Expiring(value) => format!("{value} @{timestamp}"),
            Content::Tombstone => format!("a tombstone @{timestamp}"),
        }
    }
}
