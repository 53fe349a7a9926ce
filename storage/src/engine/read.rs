//! The reads: of a key, of several keys, and of a range in pages.

use std::ops::Bound;

use bytes::Bytes;

use crate::{
    engine::{Engine, TableId},
    error::Result,
    record::Record,
    scan::{ScanLimits, ScanPage},
    tree::TryGet,
};

impl Engine {
    /// The newest record of a storage key if memory can answer: memtables, SSTable bounds, indexes and filters, and
    /// cached blocks. Never waits for the disk.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn try_get(&self, table: TableId, key: &[u8]) -> Result<TryGet> {
        self.condition.check()?;
        self.tree(table)?.try_get(key)
    }

    /// The newest record of a storage key, tombstones included; may block on the disk.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`](crate::Error::NoSuchTable), [`Error::Corrupt`](crate::Error::Corrupt),
    /// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Record>> {
        self.condition.check()?;
        self.tree(table)?.get(key)
    }

    /// The newest records of several storage keys, in the order of the keys; may block. All are read from one view
    /// of the table, each block once. A record that is written meanwhile may or may not be among them.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Record>>> {
        self.condition.check()?;
        self.tree(table)?.multi_get(keys)
    }

    /// At most `limit` newest records with keys in the range, ascending, tombstones included: for ranges that are
    /// known to be small. May block.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn scan(
        &self,
        table: TableId,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<Vec<(Bytes, Record)>> {
        Ok(self.scan_page(table, range, &ScanLimits { items: limit, ..ScanLimits::NONE })?.records)
    }

    /// The newest records with keys in the range, ascending, tombstones included, up to the first limit that is
    /// reached; may block. It is no snapshot: a record that is written meanwhile may or may not be among them. A
    /// scan that goes on behind [`ScanPage::resume_after`] sees each key that is there all the time exactly once.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn scan_page(
        &self,
        table: TableId,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limits: &ScanLimits,
    ) -> Result<ScanPage> {
        self.condition.check()?;
        self.tree(table)?.scan(range, limits)
    }
}
