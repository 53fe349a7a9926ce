//! Walks through a part of a table.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;

use super::{TableReader, block::Cursor, section::locate};
use crate::{
    error::{Error, Result},
    merge::Source,
    record::Record,
};

const NOWHERE: Error = Error::Malformed { what: "a walk through a table has not begun" };
const OUT_OF_ORDER: Error = Error::Malformed { what: "a block begins below where it should" };

/// Iterates over a part of an SSTable.
#[derive(Debug)]
pub struct TableIter {
    table: Arc<TableReader>,
    /// At its end, or behind an error.
    is_done: bool,
    next_block: usize,
    read_bytes: u64,
    is_cached: bool,
    /// The block in which the iterator stands, and where that lies in the file.
    block: Option<(Cursor, u64)>,
    /// No key that follows is below this: the first one of the table, or the last of the block before.
    floor: Vec<u8>,
    /// Unbounded once the first record is found.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Iterator for TableIter {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(false) => None,
            Ok(true) => Some(self.record().map(|record| (Bytes::copy_from_slice(self.key()), record))),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Source for TableIter {
    fn advance(&mut self) -> Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        let found = self.step();
        self.is_done = !matches!(found, Ok(true));
        found
    }

    fn key(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |(cursor, _)| cursor.key())
    }

    fn record(&self) -> Result<Record> {
        let (cursor, offset) = self.block.as_ref().ok_or(NOWHERE)?;
        cursor.record().map_err(|error| locate(error, self.table.path(), *offset))
    }
}

impl TableIter {
    pub(super) fn new(
        table: &Arc<TableReader>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        is_cached: bool,
    ) -> Self {
        let (lower, upper) = (range.0.map(<[u8]>::to_vec), range.1.map(<[u8]>::to_vec));
        let next_block = match &lower {
            Bound::Included(key) | Bound::Excluded(key) => table.block_of(key),
            Bound::Unbounded => 0,
        };
        Self {
            table: Arc::clone(table),
            is_done: false,
            next_block,
            read_bytes: 0,
            is_cached,
            block: None,
            floor: table.stats().first_key.to_vec(),
            lower,
            upper,
        }
    }

    /// How much of the file lies behind it: up to the end of the block in which it stands, and all of it at the end of the
    /// table.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Steps to the next record within the bounds; false behind the last one.
    fn step(&mut self) -> Result<bool> {
        loop {
            let table = &self.table;
            let Some((cursor, offset)) = &mut self.block else {
                let Some(place) = table.place(self.next_block) else {
                    self.read_bytes = table.file().length_bytes;
                    return Ok(false);
                };
                self.next_block += 1;
                self.read_bytes = place.offset + u64::from(place.len);
                let located = |error| locate(error, table.path(), place.offset);
                let block = if self.is_cached { table.block(place)? } else { table.read_block(place)? };
                let cursor = match &self.lower {
                    Bound::Included(key) | Bound::Excluded(key) => block.cursor_near(key).map_err(located)?,
                    Bound::Unbounded => block.cursor(),
                };
                self.block = Some((cursor, place.offset));
                continue;
            };
            let located = |error| locate(error, table.path(), *offset);
            let is_first = cursor.is_before_first();
            if !cursor.advance().map_err(located)? {
                self.floor = cursor.key().to_vec();
                self.block = None;
                continue;
            }
            let key = cursor.key();
            if is_first && key < self.floor.as_slice() {
                return Err(located(OUT_OF_ORDER));
            }
            match &self.lower {
                Bound::Included(lower) if key < lower.as_slice() => continue,
                Bound::Excluded(lower) if key <= lower.as_slice() => continue,
                Bound::Unbounded => {}
                _ => self.lower = Bound::Unbounded,
            }
            let beyond = match &self.upper {
                Bound::Included(upper) => key > upper.as_slice(),
                Bound::Excluded(upper) => key >= upper.as_slice(),
                Bound::Unbounded => false,
            };
            return Ok(!beyond);
        }
    }
}
