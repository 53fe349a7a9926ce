//! The index: the last key and the place of every block.
//!
//! In memory it stays the bytes that it is in the file, with the offset of each key, of each block, and eight bytes of
//! each key that tell most keys apart: those behind the prefix that all share. A search compares these numbers,
//! which lie side by side, and looks at a whole key only where they are equal.

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
    /// As in the file.
    bytes: Bytes,
    blocks: Vec<IndexedBlock>,
    /// Length of the prefix that all last keys share.
    prefix_len: usize,
    /// For each block the [`head`] of its last key.
    heads: Vec<u64>,
}

#[derive(Debug)]
struct IndexedBlock {
    /// Where its last key lies in the index.
    key_start: usize,
    key_len: u32,
    place: BlockPlace,
}

impl Index {
    /// Parses an index whose blocks must fill the file exactly up to `blocks_end`.
    pub(super) fn parse(bytes: Bytes, blocks_end: u64) -> Result<Self> {
        let mut input = &bytes[..];
        let count = input.try_get_u32_le().map_err(|_| BAD_INDEX)? as usize;
        // An entry takes 8 bytes at least.
        let mut blocks: Vec<IndexedBlock> = Vec::with_capacity(count.min(input.len() / 8));
        let (mut offset, mut last_key) = (0_u64, None);
        for _ in 0..count {
            let key_len = input.try_get_u32_le().map_err(|_| BAD_INDEX)?;
            let key_start = bytes.len() - input.len();
            let (key, rest) = input.split_at_checked(key_len as usize).ok_or(BAD_INDEX)?;
            input = rest;
            let len = input.try_get_u32_le().map_err(|_| BAD_INDEX)?;
            if last_key.is_some_and(|before| before >= key) {
                return Err(BAD_INDEX);
            }
            last_key = Some(key);
            blocks.push(IndexedBlock { key_start, key_len, place: BlockPlace { offset, len } });
            offset += u64::from(len);
        }
        if blocks.is_empty() || !input.is_empty() || offset != blocks_end {
            return Err(BAD_INDEX);
        }
        let mut index = Self { bytes, blocks, prefix_len: 0, heads: Vec::new() };
        let (first, last) = (index.last_key_of(0), index.last_key_of(count - 1));
        // They are sorted, so what the first and the last share is shared by all.
        index.prefix_len = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        index.heads = (0..count).map(|block| head(&index.last_key_of(block)[index.prefix_len..])).collect();
        Ok(index)
    }

    /// Number of the first block whose keys do not all lie before `key`: the only one that can hold it.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        let prefix = &self.last_key_of(0)[..self.prefix_len];
        let Some(rest) = key.strip_prefix(prefix) else {
            return if key < prefix { 0 } else { self.blocks.len() };
        };
        let head = head(rest);
        let mut block = self.heads.partition_point(|other| *other < head);
        // Keys under one head are rare, unless all keys are long and alike.
        let same = self.heads[block..].partition_point(|other| *other == head);
        block += self.blocks[block..block + same].partition_point(|other| self.key(other) < key);
        block
    }

    /// Where a block lies; `None` past the last.
    pub(super) fn place(&self, number: usize) -> Option<BlockPlace> {
        self.blocks.get(number).map(|block| block.place)
    }

    /// Largest key of the table.
    pub(super) fn last_key(&self) -> &[u8] {
        self.last_key_of(self.blocks.len() - 1)
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.blocks.capacity() * size_of::<IndexedBlock>() + self.heads.capacity() * 8
    }

    fn last_key_of(&self, number: usize) -> &[u8] {
        self.blocks.get(number).map_or(&[], |block| self.key(block))
    }

    fn key(&self, block: &IndexedBlock) -> &[u8] {
        &self.bytes[block.key_start..block.key_start + block.key_len as usize]
    }
}

/// The first eight bytes, zeros where there are fewer, as a number: of two keys the smaller one never has the greater.
fn head(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

const BAD_INDEX: Error = Error::Malformed { what: "the index is wrong" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_a_key_is_the_first_that_does_not_end_before_it() {
        let sets: [&[&[u8]]; 4] = [
            &[b""],
            &[b"same"],
            &[b"", b"\0", b"\0\0", b"\0\0\0\0\0\0\0\0\0", b"\x01"],
            &[b"pre/", b"pre/a", b"pre/aaaaaaaa", b"pre/aaaaaaaab", b"pre/aaaaaaaac", b"pre/b", b"pre/\xff"],
        ];
        for keys in sets {
            let mut builder = IndexBuilder::default();
            keys.iter().for_each(|key| builder.add(key, 10));
            let mut bytes = Vec::new();
            builder.encode(&mut bytes);
            let index = Index::parse(Bytes::from(bytes), 10 * keys.len() as u64).unwrap();
            let probes = keys.iter().flat_map(|key| {
                let shorter = &key[..key.len().saturating_sub(1)];
                [key.to_vec(), shorter.to_vec(), [key, &b"\0"[..]].concat(), [key, &b"\xff"[..]].concat()]
            });
            for probe in probes.chain([b"p".to_vec(), b"q".to_vec(), b"pra".to_vec(), b"prf".to_vec()]) {
                let expected = keys.iter().position(|key| *key >= &probe[..]).unwrap_or(keys.len());
                assert_eq!(index.block_of(&probe), expected, "{probe:?} in {keys:?}");
            }
        }
    }
}
