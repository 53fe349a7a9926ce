//! Reads one table.

use std::{
    fmt, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, Bytes};

use super::{
    FileId, KeyHash, Stats, TableFile,
    block::{Block, Cursor},
    file,
    filter::Filter,
    footer::{FOOTER_LEN, Footer},
    index::{BlockPlace, Index},
    section::{self, damaged, locate},
    writer::{LZ4, STORED},
};
use crate::{
    disk::Disk,
    error::{Error, Result},
    record::Record,
};

/// An LZ4 block cannot unpack to more than this many times its length (each byte adds at most 255 to a length).
const MAX_LZ4_RATIO: usize = 256;

/// An open SSTable.
pub struct TableReader {
    path: PathBuf,
    file: TableFile,
    map: Bytes,
    index: Index,
    filter: Filter,
    stats: Stats,
}

impl TableReader {
    /// The file name of a table.
    pub fn file_name(id: FileId) -> String {
        file::name(id)
    }

    /// Maps the file, verifies footer, statistics, index and filter, and keeps the last three in memory.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset, [`Error::Io`].
    pub fn open(disk: &dyn Disk, directory: &Path, file: TableFile) -> Result<Self> {
        let path = directory.join(Self::file_name(file.id));
        let map = map(disk, &path, file.length_bytes)?;
        let footer_at = map.len().saturating_sub(FOOTER_LEN);
        let footer = Footer::parse(&map[footer_at..], footer_at as u64)
            .map_err(|error| locate(error, &path, footer_at as u64))?;
        if footer.id != file.id {
            let what = format!("it is table {:016x} under the name of another", footer.id.0);
            return Err(damaged(&path, footer_at as u64, what));
        }
        let part = |from: u64, to: u64, name: &str| {
            let bytes = map.get(from as usize..to as usize).unwrap_or_default();
            section::verify(bytes, file.id, from)
                .ok_or_else(|| damaged(&path, from, format!("the checksum of the {name} is wrong")))
        };
        let index = part(footer.index_offset, footer.filter_offset, "index")?;
        let filter = part(footer.filter_offset, footer.stats_offset, "filter")?;
        let stats = part(footer.stats_offset, footer_at as u64, "statistics")?;
        let index = Index::parse(Bytes::copy_from_slice(index), footer.index_offset)
            .map_err(|error| locate(error, &path, footer.index_offset))?;
        let filter = Filter::parse(filter).map_err(|error| locate(error, &path, footer.filter_offset))?;
        let stats = Stats::parse(stats).map_err(|error| locate(error, &path, footer.stats_offset))?;
        if index.last_key() != Some(&stats.last_key) {
            return Err(damaged(&path, footer.stats_offset, "index and statistics disagree"));
        }
        Ok(Self { path, file, map, index, filter, stats })
    }

    /// Its id and length.
    pub fn file(&self) -> &TableFile {
        &self.file
    }

    /// Its statistics.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// False only if the key is certainly absent; touches memory only.
    pub fn may_contain(&self, key: &[u8], hash: KeyHash) -> bool {
        self.covers(key) && self.filter.may_contain(hash)
    }

    /// The record of a key; reads one block (may block on a page fault). The value shares the memory of its
    /// unpacked block, never the map.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the block's checksum or structure is wrong, [`Error::UnknownRecordKind`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        if !self.covers(key) {
            return Ok(None);
        }
        let Some(place) = self.index.place(self.index.block_of(key)) else { return Ok(None) };
        let block = self.block(place)?;
        block.get(key).map_err(|error| locate(error, &self.path, place.offset))
    }

    /// Records in ascending key order within the bounds. Fuses after the first error.
    pub fn range(self: &Arc<Self>, range: (Bound<&[u8]>, Bound<&[u8]>)) -> TableIter {
        let (lower, upper) = (range.0.map(<[u8]>::to_vec), range.1.map(<[u8]>::to_vec));
        let next_block = match &lower {
            Bound::Included(key) | Bound::Excluded(key) => self.index.block_of(key),
            Bound::Unbounded => 0,
        };
        TableIter { table: Some(Arc::clone(self)), next_block, block: None, lower, upper }
    }

    fn covers(&self, key: &[u8]) -> bool {
        key >= self.stats.first_key && key <= self.stats.last_key
    }

    /// Verifies and unpacks a block into memory of its own.
    fn block(&self, place: BlockPlace) -> Result<Block> {
        let damaged = |what: &str| damaged(&self.path, place.offset, what);
        // The index fills the file up to itself exactly, so its blocks lie inside the map.
        let start = place.offset as usize;
        let sealed = self.map.get(start..start + place.len as usize).unwrap_or_default();
        let Some(bytes) = section::verify(sealed, self.file.id, place.offset) else {
            return Err(damaged("the checksum of the block is wrong"));
        };
        let Some((payload, mut trailer)) = bytes.split_last_chunk::<5>().map(|(a, b)| (a, b.as_slice()))
        else {
            return Err(damaged("the block is too short"));
        };
        let compression = trailer.get_u8();
        let contents_len = trailer.get_u32_le() as usize;
        let contents = match compression {
            STORED if contents_len == payload.len() => Bytes::copy_from_slice(payload),
            LZ4 if contents_len / MAX_LZ4_RATIO <= payload.len() => {
                match lz4_flex::block::decompress(payload, contents_len) {
                    Ok(contents) if contents.len() == contents_len => Bytes::from(contents),
                    _ => return Err(damaged("the block does not unpack")),
                }
            }
            _ => return Err(damaged("the length or compression of the block is wrong")),
        };
        Block::parse(contents).map_err(|error| locate(error, &self.path, place.offset))
    }
}

impl fmt::Debug for TableReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TableReader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Iterates over a part of an SSTable.
#[derive(Debug)]
pub struct TableIter {
    /// `None` once it is at its end.
    table: Option<Arc<TableReader>>,
    next_block: usize,
    /// The block in which the iterator stands, and where that lies in the file.
    block: Option<(Cursor, u64)>,
    /// Unbounded once the first record is found.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Iterator for TableIter {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        let table = self.table.take()?;
        let found = self.advance(&table).transpose();
        if matches!(found, Some(Ok(_))) {
            self.table = Some(table);
        }
        found
    }
}

impl TableIter {
    fn advance(&mut self, table: &TableReader) -> Result<Option<(Bytes, Record)>> {
        loop {
            let Some((cursor, offset)) = &mut self.block else {
                let Some(place) = table.index.place(self.next_block) else { return Ok(None) };
                self.next_block += 1;
                let located = |error| locate(error, &table.path, place.offset);
                let block = table.block(place)?;
                let cursor = match &self.lower {
                    Bound::Included(key) | Bound::Excluded(key) => block.cursor_near(key).map_err(located)?,
                    Bound::Unbounded => block.cursor(),
                };
                self.block = Some((cursor, place.offset));
                continue;
            };
            let located = |error| locate(error, &table.path, *offset);
            if !cursor.advance().map_err(located)? {
                self.block = None;
                continue;
            }
            let key = cursor.key();
            let before = match &self.lower {
                Bound::Included(lower) => key < lower.as_slice(),
                Bound::Excluded(lower) => key <= lower.as_slice(),
                Bound::Unbounded => false,
            };
            if before {
                continue;
            }
            let beyond = match &self.upper {
                Bound::Included(upper) => key > upper.as_slice(),
                Bound::Excluded(upper) => key >= upper.as_slice(),
                Bound::Unbounded => false,
            };
            if beyond {
                return Ok(None);
            }
            self.lower = Bound::Unbounded;
            return Ok(Some((Bytes::copy_from_slice(key), cursor.record().map_err(located)?)));
        }
    }
}

/// Maps a file that must have at least the recorded length.
fn map(disk: &dyn Disk, path: &Path, length_bytes: u64) -> Result<Bytes> {
    disk.map(path, length_bytes).map_err(|error| {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return Error::io("map", path, error);
        }
        let end = disk.open(path).and_then(|file| file.len()).unwrap_or(0);
        damaged(path, end, format!("it ends before the {length_bytes} bytes that the manifest records"))
    })
}
