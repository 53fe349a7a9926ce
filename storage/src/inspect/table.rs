//! One SSTable, as it is in its file.

use std::{path::Path, sync::Arc};

use crate::{
    AccessMode, Error,
    disk::Disk,
    error::Result,
    sstable::{self, BlockCache, InspectedBlock, Stats, TableFile, TableMemory, TableReader},
};

/// An SSTable that is looked at. Its footer, statistics, index and filter were verified.
#[derive(Debug)]
pub struct TableInspection {
    reader: TableReader,
}

impl TableInspection {
    /// Opens a file, which must have the name of an SSTable, since checksums are bound to its id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset, [`Error::Io`].
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let (directory, file) = Self::place(disk, path)?;
        let cache = Arc::new(BlockCache::new(0, 0));
        let reader = TableReader::open_with(disk, directory, file, AccessMode::Standard, cache)?;
        Ok(Self { reader })
    }

    /// The statistics of a file that cannot be opened, if they and the footer are sound.
    ///
    /// # Errors
    /// As [`TableInspection::open`].
    pub fn stats_of(disk: &dyn Disk, path: &Path) -> Result<(TableFile, Stats)> {
        let (directory, file) = Self::place(disk, path)?;
        let stats = TableReader::stats_of(disk, directory, &file)?;
        Ok((file, stats))
    }

    fn place<'a>(disk: &dyn Disk, path: &'a Path) -> Result<(&'a Path, TableFile)> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let id = sstable::parse_name(name).ok_or_else(|| Error::Corrupt {
            path: path.into(),
            offset: 0,
            what: "not the name of an SSTable, which is 16 hexadecimal digits and .sst".into(),
        })?;
        let length_bytes =
            disk.open_to_read(path).and_then(|file| file.len()).map_err(|e| Error::io("open", path, e))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Ok((directory, TableFile { id, length_bytes }))
    }

    /// Its id and length.
    pub fn file(&self) -> &TableFile {
        self.reader.file()
    }

    /// Its statistics.
    pub fn stats(&self) -> &Stats {
        self.reader.stats()
    }

    /// What its index and filter take in memory.
    pub fn memory(&self) -> TableMemory {
        self.reader.memory_bytes()
    }

    /// Its blocks in the order of their keys, damaged ones included.
    pub fn blocks(&self) -> impl Iterator<Item = InspectedBlock> + '_ {
        (0..).map_while(|number| self.reader.inspect_block(number))
    }

    /// As [`TableInspection::blocks`], from the first that can hold this storage key.
    pub fn blocks_from(&self, key: &[u8]) -> impl Iterator<Item = InspectedBlock> + '_ {
        (self.reader.block_of(key)..).map_while(|number| self.reader.inspect_block(number))
    }
}
