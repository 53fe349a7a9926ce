//! Statistics of a table: what reads and merges need to know without opening a block.

use bytes::{Buf, Bytes};

use super::{DropTimes, SizeHistogram};
use crate::{
    commit_log::{LogPosition, SegmentId},
    error::{Error, Result},
    record::{Record, RecordKind, Timestamp},
};

/// Statistics of one table file, stored in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Smallest storage key.
    pub first_key: Bytes,
    /// Largest storage key.
    pub last_key: Bytes,
    /// Oldest write timestamp.
    pub min_timestamp: Timestamp,
    /// Newest write timestamp.
    pub max_timestamp: Timestamp,
    /// Number of plain records.
    pub plain: u64,
    /// Number of expiring records.
    pub expiring: u64,
    /// Number of tombstones.
    pub tombstones: u64,
    /// First and last expiry of the expiring records.
    pub expiry: Option<TimeSpan>,
    /// First and last deletion time of the tombstones.
    pub deletion: Option<TimeSpan>,
    /// Bytes of the blocks' contents before compression.
    pub contents_bytes: u64,
    /// Bytes of the blocks in the file.
    pub blocks_bytes: u64,
    /// The part of the commit log whose records are in here; `None` when whoever wrote the table did not say.
    pub log: Option<LogSpan>,
    /// Sizes of the records.
    pub sizes: SizeHistogram,
    /// From when on tombstones and expiring records are gone for readers.
    pub drop_times: DropTimes,
}

/// An inclusive span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    /// The earliest time.
    pub min: Timestamp,
    /// The latest time.
    pub max: Timestamp,
}

/// A part of the commit log: from one record, inclusive, to another, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSpan {
    /// Not after the first record.
    pub first: LogPosition,
    /// After the last record.
    pub last: LogPosition,
}

impl LogSpan {
    /// The smallest span that has both in it.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl Stats {
    /// Number of records.
    pub fn records(&self) -> u64 {
        self.plain.saturating_add(self.expiring).saturating_add(self.tombstones)
    }

    /// The share of its records that are tombstones from before `time`, or expired before it: with `time` a grace
    /// ago, what a merge could drop if nothing else held older records of the same keys. Never too large.
    pub fn droppable_ratio(&self, time: Timestamp) -> f64 {
        self.drop_times.droppable_before(time) as f64 / self.records().max(1) as f64
    }

    /// Bytes in the file for each byte of the blocks' contents.
    pub fn compression_ratio(&self) -> f64 {
        self.blocks_bytes as f64 / self.contents_bytes.max(1) as f64
    }

    /// Statistics of no record yet; those of the whole table are filled in at the end.
    pub(super) fn starting_at(first_key: &[u8]) -> Self {
        Self {
            first_key: Bytes::copy_from_slice(first_key),
            last_key: Bytes::new(),
            min_timestamp: Timestamp(u64::MAX),
            max_timestamp: Timestamp(0),
            plain: 0,
            expiring: 0,
            tombstones: 0,
            expiry: None,
            deletion: None,
            contents_bytes: 0,
            blocks_bytes: 0,
            log: None,
            sizes: SizeHistogram::default(),
            drop_times: DropTimes::default(),
        }
    }

    pub(super) fn count(&mut self, key: &[u8], record: &Record) {
        self.min_timestamp = self.min_timestamp.min(record.timestamp);
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.sizes.count(key.len() + record.encoded_len());
        let (end, span) = match record.kind {
            RecordKind::Plain { .. } => {
                self.plain += 1;
                return;
            }
            RecordKind::Expiring { expires_at, .. } => {
                self.expiring += 1;
                (expires_at, &mut self.expiry)
            }
            RecordKind::Tombstone { deleted_at } | RecordKind::Expired { expired_at: deleted_at } => {
                self.tombstones += 1;
                (deleted_at, &mut self.deletion)
            }
        };
        self.drop_times.count(end);
        let known = span.unwrap_or(TimeSpan { min: end, max: end });
        *span = Some(TimeSpan { min: known.min.min(end), max: known.max.max(end) });
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for key in [&self.first_key, &self.last_key] {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
        let times = |span: Option<TimeSpan>| span.map_or((0, 0), |span| (span.min.0, span.max.0));
        let ((min_expiry, max_expiry), (min_deletion, max_deletion)) =
            (times(self.expiry), times(self.deletion));
        let nowhere = LogSpan { first: LogPosition::START, last: LogPosition::START };
        let LogSpan { first, last } = self.log.unwrap_or(nowhere);
        let numbers = [
            self.min_timestamp.0,
            self.max_timestamp.0,
            self.plain,
            self.expiring,
            self.tombstones,
            min_expiry,
            max_expiry,
            min_deletion,
            max_deletion,
            self.contents_bytes,
            self.blocks_bytes,
            first.segment.0,
            first.offset,
            last.segment.0,
            last.offset,
        ];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.sizes.encode(out);
        self.drop_times.encode(out);
    }

    pub(super) fn parse(mut input: &[u8]) -> Result<Self> {
        let first_key = take_key(&mut input)?;
        let last_key = take_key(&mut input)?;
        let mut number = || input.try_get_u64_le().map_err(|_| BAD_STATS);
        let (min_timestamp, max_timestamp) = (Timestamp(number()?), Timestamp(number()?));
        let (plain, expiring, tombstones) = (number()?, number()?, number()?);
        let mut span = || Ok::<_, Error>(TimeSpan { min: Timestamp(number()?), max: Timestamp(number()?) });
        let (expiry, deletion) = (span()?, span()?);
        let (contents_bytes, blocks_bytes) = (number()?, number()?);
        let mut position =
            || Ok::<_, Error>(LogPosition { segment: SegmentId(number()?), offset: number()? });
        let log = LogSpan { first: position()?, last: position()? };
        let stats = Self {
            first_key,
            last_key,
            min_timestamp,
            max_timestamp,
            plain,
            expiring,
            tombstones,
            expiry: (expiring > 0).then_some(expiry),
            deletion: (tombstones > 0).then_some(deletion),
            contents_bytes,
            blocks_bytes,
            log: (log.last > LogPosition::START).then_some(log),
            sizes: SizeHistogram::parse(&mut input)?,
            drop_times: DropTimes::parse(&mut input)?,
        };
        // Whoever lays the ranges of several tables over each other counts on their order.
        let is_ordered = stats.first_key <= stats.last_key && stats.min_timestamp <= stats.max_timestamp;
        if input.is_empty() && is_ordered { Ok(stats) } else { Err(BAD_STATS) }
    }
}

const BAD_STATS: Error = Error::Malformed { what: "the statistics are wrong" };

fn take_key(input: &mut &[u8]) -> Result<Bytes> {
    let len = input.try_get_u32_le().map_err(|_| BAD_STATS)? as usize;
    let (key, rest) = input.split_at_checked(len).ok_or(BAD_STATS)?;
    *input = rest;
    Ok(Bytes::copy_from_slice(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(first: &[u8], last: &'static [u8]) -> Result<Stats> {
        let mut stats = Stats::starting_at(first);
        stats.count(first, &Record::plain(Timestamp(1), &b"v"[..]));
        stats.last_key = Bytes::from_static(last);
        let mut bytes = Vec::new();
        stats.encode(&mut bytes);
        Stats::parse(&bytes)
    }

    #[test]
    fn a_first_key_behind_the_last_is_refused() {
        assert!(parsed(b"a", b"b").is_ok());
        assert!(parsed(b"b", b"b").is_ok());
        assert!(parsed(b"c", b"b").is_err());
    }
}
