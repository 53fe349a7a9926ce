//! What is stored: records, the total order that reconciles two of them, and mutations.
//!
//! A record is one version of one cell. Replicas receive versions in any order and any number of times, so
//! [`Record::reconcile`] is commutative, associative and idempotent, and never looks at a clock. The order is
//! Cassandra's, made total: higher timestamp; then tombstone, then expiring, then plain; then later deletion or
//! expiry; then larger value bytes.
//!
//! ```text
//! record    kind u8 │ timestamp u64 LE │ [deleted_at or expires_at u64 LE] │ [value_len u32 LE │ value]
//!           0 = plain      (value)
//!           1 = expiring   (expires_at, value)
//!           2 = tombstone  (deleted_at)
//! mutation  key_len u32 LE │ key │ rows u32 LE │ rows × (suffix_len u32 LE │ suffix │ record)
//! ```

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes};

use crate::error::{Error, Result};

/// Microseconds since 1970, UTC. Write timestamps, deletion times and expiry times share this unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// One version of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was written, by the coordinator's hybrid clock or the client's own timestamp.
    pub timestamp: Timestamp,
    /// What was written.
    pub kind: RecordKind,
}

/// The kinds of last-write-wins records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKind {
    /// A value that stays until it is superseded.
    Plain {
        /// The value.
        value: Bytes,
    },
    /// A value that reads as deleted from `expires_at` on.
    Expiring {
        /// The value.
        value: Bytes,
        /// First instant at which it is gone.
        expires_at: Timestamp,
    },
    /// A deletion.
    Tombstone {
        /// The coordinator's clock at the deletion, or the expiry of the record that turned into it.
        deleted_at: Timestamp,
    },
}

const PLAIN: u8 = 0;
const EXPIRING: u8 = 1;
const TOMBSTONE: u8 = 2;

impl Record {
    /// A plain value.
    pub fn plain(timestamp: Timestamp, value: impl Into<Bytes>) -> Self {
        Self { timestamp, kind: RecordKind::Plain { value: value.into() } }
    }

    /// A value that is gone from `expires_at` on.
    pub fn expiring(timestamp: Timestamp, value: impl Into<Bytes>, expires_at: Timestamp) -> Self {
        Self { timestamp, kind: RecordKind::Expiring { value: value.into(), expires_at } }
    }

    /// A deletion.
    pub fn tombstone(timestamp: Timestamp, deleted_at: Timestamp) -> Self {
        Self { timestamp, kind: RecordKind::Tombstone { deleted_at } }
    }

    /// The value, unless this is a tombstone.
    pub fn value(&self) -> Option<&Bytes> {
        match &self.kind {
            RecordKind::Plain { value } | RecordKind::Expiring { value, .. } => Some(value),
            RecordKind::Tombstone { .. } => None,
        }
    }

    /// The record as a reader at `now` sees it: an expired record is the tombstone of its expiry.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        match self.kind {
            RecordKind::Expiring { expires_at, .. } if expires_at <= now => {
                Self::tombstone(self.timestamp, expires_at)
            }
            _ => self,
        }
    }

    /// Whether this version wins over `other`. Equal records do not supersede each other.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.precedence(other) == Ordering::Greater
    }

    /// The version that wins. Commutative, associative, idempotent.
    #[must_use]
    pub fn reconcile(self, other: Self) -> Self {
        if self.timestamp == other.timestamp && self != other {
            crate::sometimes!("two versions had one timestamp");
        }
        if other.supersedes(&self) { other } else { self }
    }

    fn precedence(&self, other: &Self) -> Ordering {
        self.timestamp
            .cmp(&other.timestamp)
            .then_with(|| self.rank().cmp(&other.rank()))
            .then_with(|| self.end_of_life().cmp(&other.end_of_life()))
            .then_with(|| self.value().cmp(&other.value()))
    }

    fn rank(&self) -> u8 {
        match self.kind {
            RecordKind::Plain { .. } => PLAIN,
            RecordKind::Expiring { .. } => EXPIRING,
            RecordKind::Tombstone { .. } => TOMBSTONE,
        }
    }

    fn end_of_life(&self) -> Timestamp {
        match self.kind {
            RecordKind::Plain { .. } => Timestamp(0),
            RecordKind::Expiring { expires_at, .. } => expires_at,
            RecordKind::Tombstone { deleted_at } => deleted_at,
        }
    }

    /// Bytes that [`Record::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        1 + 8
            + match &self.kind {
                RecordKind::Plain { value } => 4 + value.len(),
                RecordKind::Expiring { value, .. } => 8 + 4 + value.len(),
                RecordKind::Tombstone { .. } => 8,
            }
    }

    /// Appends the encoding of the cover page.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.rank());
        out.put_u64_le(self.timestamp.0);
        match &self.kind {
            RecordKind::Plain { value } => put_bytes(out, value),
            RecordKind::Expiring { value, expires_at } => {
                out.put_u64_le(expires_at.0);
                put_bytes(out, value);
            }
            RecordKind::Tombstone { deleted_at } => out.put_u64_le(deleted_at.0),
        }
    }

    /// Takes one record off the front of `input`. The value is a slice of `input`'s buffer, not a copy.
    ///
    /// # Errors
    /// [`Error::Malformed`] when bytes are missing, [`Error::UnknownRecordKind`] for a kind of a later build.
    pub fn decode(input: &mut Bytes) -> Result<Self> {
        let mut head = &input[..];
        let kind = head.try_get_u8().map_err(|_| TRUNCATED)?;
        let mut number = || head.try_get_u64_le().map_err(|_| TRUNCATED);
        let timestamp = Timestamp(number()?);
        let end = match kind {
            PLAIN => Timestamp(0),
            EXPIRING | TOMBSTONE => Timestamp(number()?),
            kind => return Err(Error::UnknownRecordKind { kind }),
        };
        input.advance(input.len() - head.len());
        let kind = match kind {
            TOMBSTONE => RecordKind::Tombstone { deleted_at: end },
            EXPIRING => RecordKind::Expiring { expires_at: end, value: get_bytes(input)? },
            _ => RecordKind::Plain { value: get_bytes(input)? },
        };
        Ok(Self { timestamp, kind })
    }
}

/// What one apply changes: records below one key, all or nothing.
///
/// The storage key of a row is `key` followed by its suffix. Plain key-value pairs have one row with the empty
/// suffix; columns and sort keys use more without a new format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Common prefix of the storage keys, opaque to the engine.
    pub key: Bytes,
    /// Suffix and record of each row, at least one.
    pub rows: Vec<(Bytes, Record)>,
}

impl Mutation {
    /// A mutation of one record under the empty suffix.
    pub fn single(key: impl Into<Bytes>, record: Record) -> Self {
        Self { key: key.into(), rows: vec![(Bytes::new(), record)] }
    }

    /// Bytes that [`Mutation::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let rows: usize =
            self.rows.iter().map(|(suffix, record)| 4 + suffix.len() + record.encoded_len()).sum();
        4 + self.key.len() + 4 + rows
    }

    /// Appends the encoding of the cover page.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_bytes(out, &self.key);
        put_len(out, self.rows.len());
        for (suffix, record) in &self.rows {
            put_bytes(out, suffix);
            record.encode(out);
        }
    }

    /// Decodes a whole mutation; trailing bytes are an error.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::UnknownRecordKind`].
    pub fn decode(mut input: Bytes) -> Result<Self> {
        let mutation = Self::decode_first(&mut input)?;
        if !input.is_empty() {
            return Err(Error::Malformed { what: "bytes after the last row" });
        }
        Ok(mutation)
    }

    /// Takes one mutation off the front of `input`, of whose buffer its keys and values are slices.
    ///
    /// # Errors
    /// As [`Mutation::decode`].
    pub fn decode_first(input: &mut Bytes) -> Result<Self> {
        let key = get_bytes(input)?;
        let count = input.try_get_u32_le().map_err(|_| TRUNCATED)? as usize;
        // A row takes 4 + 9 + 4 bytes at least: a damaged count cannot make us reserve more than the input holds.
        let mut rows = Vec::with_capacity(count.min(input.len() / 17));
        for _ in 0..count {
            let suffix = get_bytes(input)?;
            rows.push((suffix, Record::decode(input)?));
        }
        if rows.is_empty() {
            return Err(Error::Malformed { what: "a mutation without rows" });
        }
        Ok(Self { key, rows })
    }
}

const TRUNCATED: Error = Error::Malformed { what: "it ends too early" };

fn put_len(out: &mut impl BufMut, len: usize) {
    out.put_u32_le(u32::try_from(len).expect("keys, values and row counts are bounded far below 4 GiB"));
}

fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

fn get_bytes(input: &mut Bytes) -> Result<Bytes> {
    let len = input.try_get_u32_le().map_err(|_| TRUNCATED)? as usize;
    if len > input.len() {
        return Err(TRUNCATED);
    }
    Ok(input.split_to(len))
}
