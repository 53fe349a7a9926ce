//! Blocks: prefix-compressed entries with restart points, found by binary search.

use std::{cmp::Ordering, ops::Range};

use bytes::{Buf, Bytes};

use crate::{
    error::{Error, Result},
    record::Record,
    varint,
};

/// Most bytes of the three lengths that an entry begins with.
const MOST_LENGTHS_BYTES: usize = 3 * varint::len(u32::MAX as u64);

/// Collects the entries of one block.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    contents: Vec<u8>,
    restarts: Vec<u32>,
    restart_interval: usize,
    entries: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(restart_interval: usize) -> Self {
        Self {
            contents: Vec::new(),
            restarts: Vec::new(),
            restart_interval: restart_interval.max(1),
            entries: 0,
            last_key: Vec::new(),
        }
    }

    /// Bytes of the entries so far.
    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Appends an entry. The caller keeps keys ascending and blocks below 4 GiB.
    pub(super) fn add(&mut self, key: &[u8], record: &Record) {
        let shared = if self.entries.is_multiple_of(self.restart_interval) {
            self.restarts.push(self.contents.len() as u32);
            0
        } else {
            self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count()
        };
        // At once: a large record would take twice its size otherwise.
        self.contents.reserve(MOST_LENGTHS_BYTES + key.len() - shared + record.encoded_len());
        varint::put(&mut self.contents, shared as u64);
        varint::put(&mut self.contents, (key.len() - shared) as u64);
        varint::put(&mut self.contents, record.encoded_len() as u64);
        self.contents.extend_from_slice(&key[shared..]);
        record.encode(&mut self.contents);
        self.entries += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    /// Puts the contents of the block in the place of what is in a buffer, and takes that to build the next in; the
    /// builder is empty afterwards.
    pub(super) fn finish(&mut self, contents: &mut Vec<u8>) {
        contents.clear();
        std::mem::swap(&mut self.contents, contents);
        for restart in &self.restarts {
            contents.extend_from_slice(&restart.to_le_bytes());
        }
        contents.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.entries = 0;
        self.last_key.clear();
    }
}

/// The contents of a block, verified to be what was written. Structure is checked all the same on the way:
/// a wrong one is [`Error::Malformed`], never a panic.
#[derive(Debug, Clone)]
pub(super) struct Block {
    contents: Bytes,
    entries_end: usize,
    restarts: usize,
}

impl Block {
    pub(super) fn parse(contents: Bytes) -> Result<Self> {
        let (before, count) = contents.split_last_chunk::<4>().ok_or_else(no_restarts)?;
        let restarts = u32::from_le_bytes(*count) as usize;
        let table_len = restarts.checked_mul(4).ok_or_else(no_restarts)?;
        let entries_end = before.len().checked_sub(table_len).ok_or_else(no_restarts)?;
        if restarts == 0 {
            return Err(no_restarts());
        }
        Ok(Self { contents, entries_end, restarts })
    }

    /// Bytes of the contents.
    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    /// The record of a key. No key is put together on the way: with keys ascending, how many bytes an entry shares
    /// with the one before it, and how many that one shares with `key`, mostly say how it compares.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let mut position = self.restart_near(key)?;
        // Bytes of `key` that the entry before, a smaller one, begins with.
        let mut matched = 0;
        while let Some(entry) = self.entry(position)? {
            position = entry.record.end;
            if entry.shared > matched {
                // It differs from the key where the one before does.
                continue;
            }
            if entry.shared < matched {
                break;
            }
            let rest = key.get(matched..).ok_or_else(bad_entry)?;
            match entry.key_rest.cmp(rest) {
                Ordering::Less => {
                    matched += entry.key_rest.iter().zip(rest).take_while(|(a, b)| a == b).count();
                }
                Ordering::Equal => return self.record(entry.record).map(Some),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// A cursor before the first entry.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor_from(0)
    }

    /// A cursor before the last restart point at or before `key`, hence before `key` itself if it is here.
    pub(super) fn cursor_near(&self, key: &[u8]) -> Result<Cursor> {
        Ok(self.cursor_from(self.restart_near(key)?))
    }

    /// The offset of the last restart point at or before `key`, or of the first.
    fn restart_near(&self, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.restarts);
        // Invariant: restarts below `low` are at or before the key, those from `high` on are after it.
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(self.restart(middle)?)?.filter(|entry| entry.shared == 0);
            if entry.ok_or_else(no_restarts)?.key_rest <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.restart(low.saturating_sub(1))
    }

    fn cursor_from(&self, position: usize) -> Cursor {
        Cursor { block: self.clone(), position, key: Vec::new(), record: 0..0 }
    }

    /// The entry at an offset of the contents; `None` where they end.
    fn entry(&self, position: usize) -> Result<Option<Entry<'_>>> {
        let entries = self.contents.get(..self.entries_end).ok_or_else(bad_entry)?;
        let mut rest = entries.get(position..).ok_or_else(bad_entry)?;
        if rest.is_empty() {
            return Ok(None);
        }
        let mut number = || varint::take_u32(&mut rest).map(|number| number as usize).ok_or_else(bad_entry);
        let (shared, unshared, record_len) = (number()?, number()?, number()?);
        let (key_rest, rest) = rest.split_at_checked(unshared).ok_or_else(bad_entry)?;
        let after = rest.len().checked_sub(record_len).ok_or_else(bad_entry)?;
        Ok(Some(Entry { shared, key_rest, record: entries.len() - rest.len()..entries.len() - after }))
    }

    fn record(&self, range: Range<usize>) -> Result<Record> {
        Record::decode(self.contents.slice(range))
    }

    fn restart(&self, number: usize) -> Result<usize> {
        let mut at = self.contents.get(self.entries_end + 4 * number..).ok_or_else(no_restarts)?;
        Ok(at.try_get_u32_le().map_err(|_| no_restarts())? as usize)
    }
}

/// One entry, as it is stored.
struct Entry<'a> {
    /// Bytes of the key that are those of the key before it.
    shared: usize,
    key_rest: &'a [u8],
    /// Where its record lies in the contents.
    record: Range<usize>,
}

/// Steps through the entries of a block.
#[derive(Debug)]
pub(super) struct Cursor {
    block: Block,
    /// Offset of the next entry.
    position: usize,
    key: Vec<u8>,
    /// Where the current record lies in the contents.
    record: Range<usize>,
}

impl Cursor {
    /// Moves to the next entry; false at the end of the block. A key that is not above the one before is an error.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let Some(Entry { shared, key_rest, record }) = self.block.entry(self.position)? else {
            return Ok(false);
        };
        // The first entry has none before it.
        let is_above = |before: &[u8]| self.is_before_first() || key_rest > before;
        if !self.key.get(shared..).is_some_and(is_above) {
            return Err(bad_entry());
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(key_rest);
        self.position = record.end;
        self.record = record;
        Ok(true)
    }

    /// Whether it has not moved yet.
    pub(super) fn is_before_first(&self) -> bool {
        self.record.end == 0
    }

    /// The key of the current entry.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The record of the current entry; its value is a slice of the block.
    pub(super) fn record(&self) -> Result<Record> {
        self.block.record(self.record.clone())
    }
}

#[cold]
fn no_restarts() -> Error {
    Error::Malformed { what: "the restart points of a block are wrong" }
}

#[cold]
fn bad_entry() -> Error {
    Error::Malformed { what: "an entry of a block is wrong" }
}
