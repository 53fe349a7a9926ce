//! SSTables: sorted, immutable files. (cover page: layout byte by byte)

use std::{ops::Bound, path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    disk::Disk,
    error::Result,
    options::Options,
    record::{Record, Timestamp},
};

/// Numbers the files of an engine; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// xxh3 of a storage key, computed once per read for all filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes a storage key.
    pub fn of(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key))
    }
}

/// Statistics of one table file, stored in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Smallest and largest storage key.
    pub first_key: Bytes,
    /// See `first_key`.
    pub last_key: Bytes,
    /// Oldest write timestamp.
    pub min_timestamp: Timestamp,
    /// Newest write timestamp.
    pub max_timestamp: Timestamp,
    /// Records of each kind.
    pub plain: u64,
    /// See `plain`.
    pub expiring: u64,
    /// See `plain`.
    pub tombstones: u64,
}

/// What the manifest records of a table file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Its id, and so its name.
    pub id: FileId,
    /// Its exact length: maps and reads never go past it.
    pub length_bytes: u64,
}

/// Writes one SSTable under a temporary name; [`TableWriter::finish`] makes it durable and gives it its name.
#[derive(Debug)]
pub struct TableWriter {}

impl TableWriter {
    /// Starts a table file in `directory`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn create(disk: Arc<dyn Disk>, directory: &Path, id: FileId, options: &Options) -> Result<Self> {
        let _ = (disk, directory, id, options);
        todo!()
    }

    /// Appends a record. Keys must be strictly ascending.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn add(&mut self, key: &[u8], record: &Record) -> Result<()> {
        let _ = (key, record);
        todo!()
    }

    /// Writes filter, index, statistics and footer, syncs the file, renames it and syncs the directory. `None`
    /// when nothing was added (then no file remains).
    ///
    /// # Errors
    /// [`crate::Error::Io`]; the temporary file may remain and is an orphan.
    pub fn finish(self) -> Result<Option<TableFile>> {
        todo!()
    }
}

/// An open SSTable.
#[derive(Debug)]
pub struct TableReader {}

impl TableReader {
    /// The file name of a table.
    pub fn file_name(id: FileId) -> String {
        format!("{:016x}.sst", id.0)
    }

    /// Maps the file, verifies footer, statistics, index and filter, and keeps the last three in memory.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] with file and offset, [`crate::Error::Io`].
    pub fn open(disk: &dyn Disk, directory: &Path, file: TableFile) -> Result<Self> {
        let _ = (disk, directory, file);
        todo!()
    }

    /// Its id and length.
    pub fn file(&self) -> &TableFile {
        todo!()
    }

    /// Its statistics.
    pub fn stats(&self) -> &Stats {
        todo!()
    }

    /// False only if the key is certainly absent; touches memory only.
    pub fn may_contain(&self, key: &[u8], hash: KeyHash) -> bool {
        let _ = (key, hash);
        todo!()
    }

    /// The record of a key; reads one block (may block on a page fault).
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the block's checksum or structure is wrong.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let _ = key;
        todo!()
    }

    /// Records in ascending key order within the bounds. Fuses after the first error.
    pub fn range(self: &Arc<Self>, range: (Bound<&[u8]>, Bound<&[u8]>)) -> TableIter {
        let _ = range;
        todo!()
    }
}

/// Iterates over a part of an SSTable.
#[derive(Debug)]
pub struct TableIter {}

impl Iterator for TableIter {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
