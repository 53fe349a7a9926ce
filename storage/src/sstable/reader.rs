//! Reads one table.

use std::{
    borrow::Cow,
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, Bytes};

use super::{
    BlockCache, FileId, KeyHash, Stats, TableFile, TableIter,
    block::Block,
    file,
    filter::Filter,
    footer::{FOOTER_LEN, Footer},
    index::{BlockPlace, Index},
    section::{self, damaged, locate},
    source::TableSource,
    writer::{LZ4, STORED},
};
use crate::{disk::Disk, error::Result, options::AccessMode, record::Record};

/// An LZ4 block cannot unpack to more than this many times its length (each byte adds at most 255 to a length).
const MAX_LZ4_RATIO: usize = 256;

/// An open SSTable.
pub struct TableReader {
    path: PathBuf,
    file: TableFile,
    source: TableSource,
    cache: Arc<BlockCache>,
    index: Index,
    filter: Filter,
    stats: Stats,
}

/// What memory says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// Its record; `None` when the table has none.
    Known(Option<Record>),
    /// A block would have to be read to know.
    Cold,
}

impl TableReader {
    /// The file name of a table.
    pub fn file_name(id: FileId) -> String {
        file::name(id)
    }

    /// Opens a table for readers that come by once: mapped, and without a cache.
    ///
    /// # Errors
    /// As [`TableReader::open_with`].
    pub fn open(disk: &dyn Disk, directory: &Path, file: TableFile) -> Result<Self> {
        Self::open_with(disk, directory, file, AccessMode::Mmap, Arc::new(BlockCache::new(0, 0)))
    }

    /// Opens the file, verifies footer, statistics, index and filter, and keeps the last three in memory.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] with file and offset, [`crate::Error::Io`].
    pub fn open_with(
        disk: &dyn Disk,
        directory: &Path,
        file: TableFile,
        mode: AccessMode,
        cache: Arc<BlockCache>,
    ) -> Result<Self> {
        let sections = Sections::open(disk, directory, &file, mode)?;
        let Footer { index_offset, filter_offset, .. } = sections.footer;
        let (index, filter) = (sections.index()?, sections.filter()?);
        let index = Index::parse(Bytes::from(index), index_offset)
            .map_err(|error| locate(error, &sections.path, index_offset))?;
        let filter = Filter::parse(filter).map_err(|error| locate(error, &sections.path, filter_offset))?;
        let stats = sections.stats()?;
        let Sections { path, source, footer, .. } = sections;
        if index.last_key() != stats.last_key {
            return Err(damaged(&path, footer.stats_offset, "index and statistics disagree"));
        }
        Ok(Self { path, file, source, cache, index, filter, stats })
    }

    /// The statistics of a file, whatever is with its index, its filter and its blocks.
    ///
    /// # Errors
    /// As [`TableReader::open_with`].
    pub(crate) fn stats_of(disk: &dyn Disk, directory: &Path, file: &TableFile) -> Result<Stats> {
        Sections::open(disk, directory, file, AccessMode::Standard)?.stats()
    }

    /// Its id and length.
    pub fn file(&self) -> &TableFile {
        &self.file
    }

    /// Its statistics.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Bytes of memory that index and filter take, as long as it is open.
    pub fn memory_bytes(&self) -> TableMemory {
        TableMemory { index: self.index.memory_bytes(), filter: self.filter.memory_bytes() }
    }

    /// False only if the key is certainly absent; touches memory only. The hash is not asked for where the bounds
    /// of the table are enough.
    pub fn may_contain(&self, key: &[u8], hash: impl FnOnce() -> KeyHash) -> bool {
        self.covers(key) && self.filter.may_contain(hash())
    }

    /// The record of a key; reads at most one block, and may block for that. The value shares the memory of its
    /// unpacked block, never a map.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the block's checksum or structure is wrong, [`crate::Error::Io`],
    /// [`crate::Error::UnknownRecordKind`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let Some(place) = self.place_of(key) else { return Ok(None) };
        self.find(&self.block(place)?, key, place)
    }

    /// The record of a key, if memory knows it.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn get_cached(&self, key: &[u8]) -> Result<Cached> {
        let Some(place) = self.place_of(key) else { return Ok(Cached::Known(None)) };
        match self.cache.get(self.file.id, place.offset) {
            Some(block) => self.find(&block, key, place).map(Cached::Known),
            None => Ok(Cached::Cold),
        }
    }

    /// The records of the keys that `wanted` yields, which must not descend; a block that holds several of them is
    /// looked for once.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn get_each<'a, Name>(
        &self,
        wanted: impl Iterator<Item = (Name, &'a [u8])>,
        mut found: impl FnMut(Name, Record),
    ) -> Result<()> {
        let mut last: Option<(BlockPlace, Block)> = None;
        for (name, key) in wanted {
            let Some(place) = self.place_of(key) else { continue };
            let block = match last.take() {
                Some((at, block)) if at == place => block,
                _ => self.block(place)?,
            };
            if let Some(record) = self.find(&block, key, place)? {
                found(name, record);
            }
            last = Some((place, block));
        }
        Ok(())
    }

    /// Records in ascending key order within the bounds. Fuses after the first error.
    pub fn range(self: &Arc<Self>, range: (Bound<&[u8]>, Bound<&[u8]>)) -> TableIter {
        TableIter::new(self, range, true)
    }

    /// As [`TableReader::range`], past the block cache: for those who read everything once, merges above all, and
    /// must neither push out what others read often nor trust that it is still what is on the disk.
    pub fn range_uncached(self: &Arc<Self>, range: (Bound<&[u8]>, Bound<&[u8]>)) -> TableIter {
        TableIter::new(self, range, false)
    }

    /// Reads a block of the file past all caches; `None` past the last one. The damage of one block says nothing of the
    /// next, so whoever looks at a damaged file goes on.
    pub fn inspect_block(&self, number: usize) -> Option<InspectedBlock> {
        let place = self.index.place(number)?;
        let records = self.read_block(place).and_then(|block| {
            let mut cursor = block.cursor();
            let mut records = Vec::new();
            while cursor.advance()? {
                records.push((Bytes::copy_from_slice(cursor.key()), cursor.record()?));
            }
            Ok(records)
        });
        let records = records.map_err(|error| locate(error, &self.path, place.offset));
        Some(InspectedBlock { offset: place.offset, length_bytes: place.len, records })
    }

    /// Number of the first block that can hold `key` or what follows it.
    pub(crate) fn block_of(&self, key: &[u8]) -> usize {
        self.index.block_of(key)
    }

    pub(super) fn place(&self, number: usize) -> Option<BlockPlace> {
        self.index.place(number)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn covers(&self, key: &[u8]) -> bool {
        key >= &self.stats.first_key[..] && key <= &self.stats.last_key[..]
    }

    fn place_of(&self, key: &[u8]) -> Option<BlockPlace> {
        self.covers(key).then(|| self.index.place(self.index.block_of(key))).flatten()
    }

    fn find(&self, block: &Block, key: &[u8], place: BlockPlace) -> Result<Option<Record>> {
        block.get(key).map_err(|error| locate(error, &self.path, place.offset))
    }

    /// A block from the cache, or else from the file and into the cache.
    pub(super) fn block(&self, place: BlockPlace) -> Result<Block> {
        if let Some(block) = self.cache.get(self.file.id, place.offset) {
            return Ok(block);
        }
        let block = self.read_block(place)?;
        self.cache.insert(self.file.id, place.offset, &block);
        Ok(block)
    }

    /// Reads, verifies and unpacks a block into memory of its own.
    pub(super) fn read_block(&self, place: BlockPlace) -> Result<Block> {
        let damaged = |what: &str| damaged(&self.path, place.offset, what);
        let sealed = self.source.read(&self.path, place.offset, place.len as usize)?;
        let Some(bytes) = section::verify(&sealed, self.file.id, place.offset) else {
            return Err(damaged("the checksum of the block is wrong"));
        };
        let Some((payload, mut trailer)) = bytes.split_last_chunk::<5>().map(|(a, b)| (a, b.as_slice()))
        else {
            return Err(damaged("the block is too short"));
        };
        let compression = trailer.get_u8();
        let contents_len = trailer.get_u32_le() as usize;
        let payload_len = payload.len();
        let contents = match compression {
            STORED if contents_len == payload_len => match sealed {
                Cow::Borrowed(_) => payload.to_vec(),
                Cow::Owned(mut buffer) => {
                    buffer.truncate(payload_len);
                    // What is cached is charged by its length.
                    buffer.shrink_to_fit();
                    buffer
                }
            },
            LZ4 if contents_len / MAX_LZ4_RATIO <= payload_len => {
                match lz4_flex::block::decompress(payload, contents_len) {
                    Ok(contents) if contents.len() == contents_len => contents,
                    _ => return Err(damaged("the block does not unpack")),
                }
            }
            _ => return Err(damaged("the length or compression of the block is wrong")),
        };
        Block::parse(Bytes::from(contents)).map_err(|error| locate(error, &self.path, place.offset))
    }
}

/// A block as it is in the file.
#[derive(Debug)]
pub struct InspectedBlock {
    /// Where it begins.
    pub offset: u64,
    /// Its length in the file.
    pub length_bytes: u32,
    /// Its records in key order, or its damage.
    pub records: Result<Vec<(Bytes, Record)>>,
}

/// Memory of an open table, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableMemory {
    /// The index.
    pub index: usize,
    /// The bloom filter.
    pub filter: usize,
}

impl fmt::Debug for TableReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TableReader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The parts of a file around its blocks.
#[derive(Debug)]
struct Sections {
    path: PathBuf,
    source: TableSource,
    id: FileId,
    footer: Footer,
    footer_at: u64,
}

impl Sections {
    /// Opens the file and verifies its footer.
    fn open(disk: &dyn Disk, directory: &Path, file: &TableFile, mode: AccessMode) -> Result<Self> {
        let path = directory.join(TableReader::file_name(file.id));
        let source = TableSource::open(disk, &path, file, mode)?;
        let footer_len = file.length_bytes.min(FOOTER_LEN as u64);
        let footer_at = file.length_bytes - footer_len;
        let footer = source.read(&path, footer_at, footer_len as usize)?;
        let footer = Footer::parse(&footer, footer_at).map_err(|error| locate(error, &path, footer_at))?;
        if footer.id != file.id {
            let what = format!("it is table {:016x} under the name of another", footer.id.0);
            return Err(damaged(&path, footer_at, what));
        }
        Ok(Self { path, source, id: file.id, footer, footer_at })
    }

    fn index(&self) -> Result<Vec<u8>> {
        self.part(self.footer.index_offset, self.footer.filter_offset, "index")
    }

    fn filter(&self) -> Result<Vec<u8>> {
        self.part(self.footer.filter_offset, self.footer.stats_offset, "filter")
    }

    fn stats(&self) -> Result<Stats> {
        let at = self.footer.stats_offset;
        let stats = self.part(at, self.footer_at, "statistics")?;
        Stats::parse(&stats).map_err(|error| locate(error, &self.path, at))
    }

    /// The bytes of a part, if they are what was sealed.
    fn part(&self, from: u64, to: u64, name: &str) -> Result<Vec<u8>> {
        // The footer's offsets ascend, and end before itself.
        let sealed = self.source.read(&self.path, from, (to - from) as usize)?;
        let bytes = section::verify(&sealed, self.id, from);
        let wrong = || damaged(&self.path, from, format!("the checksum of the {name} is wrong"));
        bytes.map(<[u8]>::to_vec).ok_or_else(wrong)
    }
}
