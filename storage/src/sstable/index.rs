//! The index: the last key and the place of every block.
//!
//! In memory it stays the bytes that it is in the file, with the offset of each key, of each block, and eight bytes of
//! each key that tell most keys apart: those behind the prefix that all share. A search compares these numbers, first
//! every 64th of them, which fit the processor's nearest cache, then those between two of them, which are next to each
//! other; and it looks at a whole key only where they are equal.

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

/// Blocks to one entry of the upper level of the search.
const STRIDE: usize = 64;

/// The index of an open table, in memory.
#[derive(Debug)]
pub(super) struct Index {
    /// As in the file.
    bytes: Bytes,
    /// Where the entry of each block lies in `bytes`; those of an index do not take 4 GiB.
    entries: Vec<u32>,
    /// Where each block lies in the file.
    offsets: Vec<u64>,
    /// Length of the prefix that all last keys share.
    prefix_len: usize,
    /// For each block the [`head`] of its last key.
    heads: Vec<u64>,
    /// Every [`STRIDE`]th of `heads`.
    strided: Vec<u64>,
}

impl Index {
    /// Parses an index whose blocks must fill the file exactly up to `blocks_end`.
    pub(super) fn parse(bytes: Bytes, blocks_end: u64) -> Result<Self> {
        let mut input = &bytes[..];
        let count = input.try_get_u32_le().map_err(|_| BAD_INDEX)? as usize;
        // An entry takes 8 bytes at least.
        let room = count.min(input.len() / 8);
        let (mut entries, mut offsets) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let (mut offset, mut last_key) = (0_u64, None);
        for _ in 0..count {
            entries.push(u32::try_from(bytes.len() - input.len()).map_err(|_| BAD_INDEX)?);
            let (key, len) = take_entry(&mut input).ok_or(BAD_INDEX)?;
            if last_key.is_some_and(|before| before >= key) {
                return Err(BAD_INDEX);
            }
            last_key = Some(key);
            offsets.push(offset);
            offset += u64::from(len);
        }
        if entries.is_empty() || !input.is_empty() || offset != blocks_end {
            return Err(BAD_INDEX);
        }
        let (heads, strided) = (Vec::with_capacity(count), Vec::with_capacity(count / STRIDE + 1));
        let mut index = Self { bytes, entries, offsets, prefix_len: 0, heads, strided };
        let (first, last) = (index.key(0), index.key(count - 1));
        // They are sorted, so what the first and the last share is shared by all.
        index.prefix_len = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        for block in 0..count {
            index.heads.push(head(&index.key(block)[index.prefix_len..]));
        }
        index.strided.extend(index.heads.iter().step_by(STRIDE));
        Ok(index)
    }

    /// Number of the first block whose keys do not all lie before `key`: the only one that can hold it.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        let prefix = &self.key(0)[..self.prefix_len];
        let Some(rest) = key.strip_prefix(prefix) else {
            return if key < prefix { 0 } else { self.entries.len() };
        };
        let head = head(rest);
        let stride = self.strided.partition_point(|other| *other < head);
        let from = stride.saturating_sub(1) * STRIDE;
        let to = (stride * STRIDE).min(self.heads.len());
        let mut block = from + self.heads[from..to].partition_point(|other| *other < head);
        // Keys under one head are rare, unless all keys are long and alike.
        if self.heads.get(block) == Some(&head) {
            let same = self.heads[block..].partition_point(|other| *other == head);
            let (mut low, mut high) = (block, block + same);
            while low < high {
                let middle = low + (high - low) / 2;
                if self.key(middle) < key { low = middle + 1 } else { high = middle }
            }
            block = low;
        }
        block
    }

    /// Where a block lies; `None` past the last.
    pub(super) fn place(&self, number: usize) -> Option<BlockPlace> {
        let (_, len) = self.entry(number)?;
        Some(BlockPlace { offset: *self.offsets.get(number)?, len })
    }

    /// Largest key of the table.
    pub(super) fn last_key(&self) -> &[u8] {
        self.key(self.entries.len() - 1)
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let numbers = self.offsets.capacity() + self.heads.capacity() + self.strided.capacity();
        self.bytes.len() + self.entries.capacity() * size_of::<u32>() + numbers * size_of::<u64>()
    }

    fn key(&self, number: usize) -> &[u8] {
        self.entry(number).map_or(&[], |(key, _)| key)
    }

    fn entry(&self, number: usize) -> Option<(&[u8], u32)> {
        take_entry(&mut self.bytes.get(*self.entries.get(number)? as usize..)?)
    }
}

/// The last key and the length of a block.
fn take_entry<'a>(input: &mut &'a [u8]) -> Option<(&'a [u8], u32)> {
    let key_len = input.try_get_u32_le().ok()?;
    let (key, rest) = input.split_at_checked(key_len as usize)?;
    *input = rest;
    Some((key, input.try_get_u32_le().ok()?))
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

    #[test]
    fn the_search_is_right_around_every_stride() {
        // Runs of one head that cross strides, and runs that do not.
        for run in [1_u32, 3, 64, 200] {
            let keys: Vec<Vec<u8>> = (0..400_u32)
                .map(|n| [&b"p"[..], &u64::from(n / run).to_be_bytes(), &(2 * n).to_be_bytes()].concat())
                .collect();
            for count in [1, 63, 64, 65, 127, 128, 129, 400] {
                let mut builder = IndexBuilder::default();
                keys[..count].iter().for_each(|key| builder.add(key, 10));
                let mut bytes = Vec::new();
                builder.encode(&mut bytes);
                let index = Index::parse(Bytes::from(bytes), 10 * count as u64).unwrap();
                for (number, key) in keys.iter().enumerate() {
                    let behind = [key, &b"\0"[..]].concat();
                    assert_eq!(index.block_of(key), number.min(count), "{number} of {count}, runs of {run}");
                    assert_eq!(
                        index.block_of(&behind),
                        (number + 1).min(count),
                        "behind {number} of {count}"
                    );
                }
            }
        }
    }
}
