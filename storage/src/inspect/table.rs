//! One SSTable, as it is in its file.

use std::{path::Path, sync::Arc};

use super::foreign;
use crate::{
    AccessMode, Error,
    disk::Disk,
    error::Result,
    sstable::{self, BlockCache, FOOTER_LEN, InspectedBlock, Stats, TableFile, TableMemory, TableReader},
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
    /// [`Error::Foreign`] for a file that has not the name of one, [`Error::Corrupt`] with file and offset, [`Error::Io`].
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
        let file = disk.open_to_read(path).map_err(|e| Error::io("open", path, e))?;
        let length_bytes = file.len().map_err(|e| Error::io("measure", path, e))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = sstable::parse_name(name) {
            let directory = path.parent().unwrap_or(Path::new(""));
            return Ok((directory, TableFile { id, length_bytes }));
        }
        let mut end = [0; FOOTER_LEN];
        if let Some(at) = length_bytes.checked_sub(FOOTER_LEN as u64) {
            file.read_exact_at(&mut end, at).map_err(|e| Error::io("read", path, e))?;
        }
        Err(match sstable::claimed_id(&end) {
            Some(id) => {
                let why = format!("its checksums count on its name, {}", TableReader::file_name(id));
                foreign(path, "an SSTable that was renamed", &why)
            }
            None => foreign(path, "no SSTable", "it does not end like one"),
        })
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
