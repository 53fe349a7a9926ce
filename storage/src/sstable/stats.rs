//! Statistics of a table: what reads and merges need to know without opening a block.

use bytes::{Buf, Bytes};

use crate::{
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
}

impl Stats {
    /// Number of records.
    pub fn records(&self) -> u64 {
        self.plain.saturating_add(self.expiring).saturating_add(self.tombstones)
    }

    /// Statistics of no record yet; `last_key` stays empty until the end.
    pub(super) fn starting_at(first_key: &[u8]) -> Self {
        Self {
            first_key: Bytes::copy_from_slice(first_key),
            last_key: Bytes::new(),
            min_timestamp: Timestamp(u64::MAX),
            max_timestamp: Timestamp(0),
            plain: 0,
            expiring: 0,
            tombstones: 0,
        }
    }

    pub(super) fn count(&mut self, record: &Record) {
        self.min_timestamp = self.min_timestamp.min(record.timestamp);
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        match record.kind {
            RecordKind::Plain { .. } => self.plain += 1,
            RecordKind::Expiring { .. } => self.expiring += 1,
            RecordKind::Tombstone { .. } => self.tombstones += 1,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for key in [&self.first_key, &self.last_key] {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
        let numbers =
            [self.min_timestamp.0, self.max_timestamp.0, self.plain, self.expiring, self.tombstones];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn parse(mut input: &[u8]) -> Result<Self> {
        let first_key = take_key(&mut input)?;
        let last_key = take_key(&mut input)?;
        let mut number = || input.try_get_u64_le().map_err(|_| BAD_STATS);
        let stats = Self {
            first_key,
            last_key,
            min_timestamp: Timestamp(number()?),
            max_timestamp: Timestamp(number()?),
            plain: number()?,
            expiring: number()?,
            tombstones: number()?,
        };
        if input.is_empty() { Ok(stats) } else { Err(BAD_STATS) }
    }
}

const BAD_STATS: Error = Error::Malformed { what: "the statistics are wrong" };

fn take_key(input: &mut &[u8]) -> Result<Bytes> {
    let len = input.try_get_u32_le().map_err(|_| BAD_STATS)? as usize;
    let (key, rest) = input.split_at_checked(len).ok_or(BAD_STATS)?;
    *input = rest;
    Ok(Bytes::copy_from_slice(key))
}
