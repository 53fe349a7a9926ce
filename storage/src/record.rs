//! What is stored: records, the total order that reconciles two of them, and mutations.
//!
//! A record is one version of one cell. Replicas receive versions in any order and any number of times, so
//! [`Record::reconcile`] is commutative, associative and idempotent, and never looks at a clock. The order is
//! Cassandra's, made total: higher timestamp; then tombstone, then expiring or expired, then plain; then later deletion
//! or expiry; then expired; then larger value bytes.
//!
//! What has expired and lost its value is told from a deletion, unlike in Cassandra: so it wins over nothing that it did
//! not win over before, and it does not matter whether versions expire ([`Record::as_of`]) before or after they meet.
//!
//! ```text
//! record    kind u8 + 16 × n │ timestamp, n bytes LE, the last not zero │ [end u64 LE] │ value, the rest
//!           0 = plain      value
//!           1 = expiring   end = expires_at, value
//!           2 = tombstone  end = deleted_at
//!           3 = expired    end = expired_at
//! mutation  2 × key_len + 1 varint │ key │ row                                     the only row has the empty suffix
//!           2 × key_len varint │ key │ rows varint │ rows × (suffix_len varint │ suffix │ row)
//! row       record_len varint │ record
//! ```
//!
//! A varint is LEB128 in as few bytes as possible; there is one encoding of everything.

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes};

use crate::{
    error::{Error, Result},
    varint,
};

/// Microseconds since 1970, UTC. Write timestamps, deletion times and expiry times share this unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Which of two versions wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The first.
    Supersedes,
    /// They are one.
    Same,
    /// The second, of this timestamp.
    Superseded(Timestamp),
}

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
        /// The coordinator's clock at the deletion.
        deleted_at: Timestamp,
    },
    /// What is left of an expiring value that is gone.
    Expired {
        /// Its `expires_at`.
        expired_at: Timestamp,
    },
}

const PLAIN: u8 = 0;
const EXPIRING: u8 = 1;
const TOMBSTONE: u8 = 2;
const EXPIRED: u8 = 3;

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

    /// What is left of a value that is gone since `expired_at`.
    pub fn expired(timestamp: Timestamp, expired_at: Timestamp) -> Self {
        Self { timestamp, kind: RecordKind::Expired { expired_at } }
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&Bytes> {
        match &self.kind {
            RecordKind::Plain { value } | RecordKind::Expiring { value, .. } => Some(value),
            RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => None,
        }
    }

    /// When it was deleted or expires, if ever.
    pub fn end(&self) -> Option<Timestamp> {
        match self.kind {
            RecordKind::Plain { .. } => None,
            RecordKind::Expiring { expires_at: end, .. }
            | RecordKind::Tombstone { deleted_at: end }
            | RecordKind::Expired { expired_at: end } => Some(end),
        }
    }

    /// Whether a reader at `now` sees no value.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        match self.kind {
            RecordKind::Expiring { expires_at, .. } => expires_at <= now,
            _ => self.value().is_none(),
        }
    }

    /// The record as a reader at `now` sees it: without its value once it has expired. Whether this is done before or
    /// after [`Record::reconcile`] makes no difference.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        match self.kind {
            RecordKind::Expiring { expires_at, .. } if expires_at <= now => {
                Self::expired(self.timestamp, expires_at)
            }
            _ => self,
        }
    }

    /// Whether this version wins over `other`. Equal records do not supersede each other.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.precedence(other) == Ordering::Greater
    }

    /// As [`Record::supersedes`], of one that is encoded; that is decoded only where the timestamps are the same. What has no
    /// timestamp is superseded.
    pub(crate) fn compare_encoded(&self, other: &[u8]) -> Compared {
        let timestamp = other
            .split_first()
            .and_then(|(head, rest)| timestamp_of(rest.get(..usize::from(head >> KIND_BITS))?).ok());
        match timestamp {
            Some(timestamp) if self.timestamp < timestamp => Compared::Superseded(timestamp),
            Some(timestamp) if self.timestamp == timestamp => {
                match Self::decode(Bytes::copy_from_slice(other)) {
                    Ok(other) if *self == other => Compared::Same,
                    Ok(other) if self.supersedes(&other) => Compared::Supersedes,
                    _ => Compared::Superseded(timestamp),
                }
            }
            _ => Compared::Supersedes,
        }
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
            .then_with(|| self.end().cmp(&other.end()))
            .then_with(|| self.value().is_none().cmp(&other.value().is_none()))
            .then_with(|| self.value().cmp(&other.value()))
    }

    fn rank(&self) -> u8 {
        match self.kind {
            RecordKind::Plain { .. } => 0,
            RecordKind::Expiring { .. } | RecordKind::Expired { .. } => 1,
            RecordKind::Tombstone { .. } => 2,
        }
    }

    fn tag(&self) -> u8 {
        match self.kind {
            RecordKind::Plain { .. } => PLAIN,
            RecordKind::Expiring { .. } => EXPIRING,
            RecordKind::Tombstone { .. } => TOMBSTONE,
            RecordKind::Expired { .. } => EXPIRED,
        }
    }

    /// Bytes that [`Record::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let end = self.end().map_or(0, |end| size_of_val(&end.0));
        1 + significant_bytes(self.timestamp) + end + self.value().map_or(0, Bytes::len)
    }

    /// Appends the encoding of the cover page, which does not say where it ends.
    pub fn encode(&self, out: &mut impl BufMut) {
        let timestamp_bytes = significant_bytes(self.timestamp);
        out.put_u8(self.tag() | (timestamp_bytes as u8) << KIND_BITS);
        out.put_uint_le(self.timestamp.0, timestamp_bytes);
        if let Some(end) = self.end() {
            out.put_u64_le(end.0);
        }
        if let Some(value) = self.value() {
            out.put_slice(value);
        }
    }

    /// Decodes a record that takes all of `input`, of which its value is a slice, not a copy.
    ///
    /// # Errors
    /// [`Error::Malformed`] when bytes are missing or left, [`Error::UnknownRecordKind`] for a kind of a later build.
    pub fn decode(mut input: Bytes) -> Result<Self> {
        let mut rest = &input[..];
        let head = rest.try_get_u8().map_err(|_| truncated())?;
        let kind = head & ((1 << KIND_BITS) - 1);
        if kind > EXPIRED {
            return Err(Error::UnknownRecordKind { kind });
        }
        let (timestamp, mut rest) =
            rest.split_at_checked(usize::from(head >> KIND_BITS)).ok_or_else(truncated)?;
        let timestamp = timestamp_of(timestamp)?;
        let mut end = || rest.try_get_u64_le().map(Timestamp).map_err(|_| truncated());
        let end = match kind {
            PLAIN => Timestamp(0),
            _ => end()?,
        };
        let rest = rest.len();
        input.advance(input.len() - rest);
        let kind = match kind {
            TOMBSTONE | EXPIRED if rest > 0 => {
                return Err(Error::Malformed { what: "bytes after a record without a value" });
            }
            TOMBSTONE => RecordKind::Tombstone { deleted_at: end },
            EXPIRED => RecordKind::Expired { expired_at: end },
            EXPIRING => RecordKind::Expiring { expires_at: end, value: input },
            _ => RecordKind::Plain { value: input },
        };
        Ok(Self { timestamp, kind })
    }
}

/// Bits of a record's first byte that tell its kind; the others count the bytes of its timestamp.
const KIND_BITS: u32 = 4;

/// Bytes of a timestamp without the zeros at its upper end.
fn significant_bytes(timestamp: Timestamp) -> usize {
    (u64::BITS - timestamp.0.leading_zeros()).div_ceil(8) as usize
}

fn timestamp_of(bytes: &[u8]) -> Result<Timestamp> {
    let mut number = [0; 8];
    number
        .get_mut(..bytes.len())
        .filter(|_| bytes.last() != Some(&0))
        .ok_or_else(bad_timestamp)?
        .copy_from_slice(bytes);
    Ok(Timestamp(u64::from_le_bytes(number)))
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
        let row_bytes = |record: &Record| {
            let record_bytes = record.encoded_len();
            varint::len(record_bytes as u64) + record_bytes
        };
        // One more bit says whether there is one row.
        let key_bytes = varint::len(2 * self.key.len() as u64) + self.key.len();
        if let Some(record) = self.only_record() {
            return key_bytes + row_bytes(record);
        }
        let rows = self
            .rows
            .iter()
            .map(|(suffix, record)| varint::len(suffix.len() as u64) + suffix.len() + row_bytes(record));
        key_bytes + varint::len(self.rows.len() as u64) + rows.sum::<usize>()
    }

    /// Appends the encoding of the cover page.
    pub fn encode(&self, out: &mut impl BufMut) {
        let put_row = |out: &mut _, record: &Record| {
            varint::put(out, record.encoded_len() as u64);
            record.encode(out);
        };
        let only = self.only_record();
        varint::put(out, 2 * self.key.len() as u64 + u64::from(only.is_some()));
        out.put_slice(&self.key);
        if let Some(record) = only {
            return put_row(out, record);
        }
        varint::put(out, self.rows.len() as u64);
        for (suffix, record) in &self.rows {
            varint::put(out, suffix.len() as u64);
            out.put_slice(suffix);
            put_row(out, record);
        }
    }

    /// The record of a mutation that has no other, under the empty suffix.
    fn only_record(&self) -> Option<&Record> {
        match &self.rows[..] {
            [(suffix, record)] if suffix.is_empty() => Some(record),
            _ => None,
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
        let head = take_number(input)?;
        let key = take_bytes(input, head / 2)?;
        if head % 2 == 1 {
            return Ok(Self::single(key, take_record(input)?));
        }
        let count = take_number(input)?;
        // A row takes three bytes at least: a damaged count cannot make us reserve more than a few times the input.
        let mut rows = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(input.len() / 3));
        for _ in 0..count {
            let suffix_len = take_number(input)?;
            let suffix = take_bytes(input, suffix_len)?;
            rows.push((suffix, take_record(input)?));
        }
        let mutation = Self { key, rows };
        if mutation.rows.is_empty() || mutation.only_record().is_some() {
            return Err(Error::Malformed {
                what: "a mutation with another number of rows than it may have so",
            });
        }
        Ok(mutation)
    }
}

#[cold]
fn truncated() -> Error {
    Error::Malformed { what: "it ends too early" }
}

#[cold]
fn bad_number() -> Error {
    Error::Malformed { what: "a length or count is wrong" }
}

#[cold]
fn bad_timestamp() -> Error {
    Error::Malformed { what: "a timestamp is wrong" }
}

fn take_number(input: &mut Bytes) -> Result<u64> {
    let mut rest = &input[..];
    let number = varint::take(&mut rest).ok_or_else(bad_number)?;
    let rest = rest.len();
    input.advance(input.len() - rest);
    Ok(number)
}

fn take_bytes(input: &mut Bytes, len: u64) -> Result<Bytes> {
    let len = usize::try_from(len).ok().filter(|&len| len <= input.len()).ok_or_else(truncated)?;
    Ok(input.split_to(len))
}

fn take_record(input: &mut Bytes) -> Result<Record> {
    let len = take_number(input)?;
    Record::decode(take_bytes(input, len)?)
}
