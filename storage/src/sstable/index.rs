//! The index: the last key and the place of every block.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result};

/// Where a block lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// Collects the index while blocks are written.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    entries: Vec<u8>,
    count: u32,
}

impl IndexBuilder {
    /// Appends a block: its last key, and its length including what follows the payload.
    pub(super) fn add(&mut self, last_key: &[u8], block_len: u32) {
        self.entries.extend_from_slice(&(last_key.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(last_key);
        self.entries.extend_from_slice(&block_len.to_le_bytes());
        self.count += 1;
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.entries);
    }
}

/// The index of an open table, in memory.
#[derive(Debug)]
pub(super) struct Index {
    blocks: Vec<(Bytes, BlockPlace)>,
}

impl Index {
    /// Parses an index whose blocks must fill the file exactly up to `blocks_end`.
    pub(super) fn parse(mut input: Bytes, blocks_end: u64) -> Result<Self> {
        let count = input.try_get_u32_le().map_err(|_| BAD_INDEX)? as usize;
        // An entry takes 8 bytes at least.
        let mut blocks: Vec<(Bytes, BlockPlace)> = Vec::with_capacity(count.min(input.len() / 8));
        let mut offset = 0_u64;
        for _ in 0..count {
            let key_len = input.try_get_u32_le().map_err(|_| BAD_INDEX)? as usize;
            if key_len > input.len() {
                return Err(BAD_INDEX);
            }
            let last_key = input.split_to(key_len);
            let len = input.try_get_u32_le().map_err(|_| BAD_INDEX)?;
            if blocks.last().is_some_and(|(before, _)| *before >= last_key) {
                return Err(BAD_INDEX);
            }
            blocks.push((last_key, BlockPlace { offset, len }));
            offset += u64::from(len);
        }
        if blocks.is_empty() || !input.is_empty() || offset != blocks_end {
            return Err(BAD_INDEX);
        }
        Ok(Self { blocks })
    }

    /// Number of the first block whose keys do not all lie before `key`: the only one that can hold it.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        self.blocks.partition_point(|(last_key, _)| last_key < key)
    }

    /// Where a block lies; `None` past the last.
    pub(super) fn place(&self, number: usize) -> Option<BlockPlace> {
        self.blocks.get(number).map(|(_, place)| *place)
    }

    /// Largest key of the table.
    pub(super) fn last_key(&self) -> Option<&Bytes> {
        self.blocks.last().map(|(key, _)| key)
    }
}

const BAD_INDEX: Error = Error::Malformed { what: "the index is wrong" };
