//! A disk on which the sync of a directory that failed once never succeeds again.
//!
//! All files of an engine share one directory, and its threads sync it for each other. The operating system reports
//! a failed sync once, to one of those who ask, and what the others had created may be lost with it: so all are
//! told. One at a time, since a sync that began before the failure says nothing of it.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskFile, LockGuard};

/// See the page.
#[derive(Debug)]
pub(crate) struct StickyDisk {
    disk: Arc<dyn Disk>,
    has_failed: Mutex<bool>,
}

impl StickyDisk {
    /// On top of another disk.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, has_failed: Mutex::default() }
    }
}

impl Disk for StickyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock();
        if *has_failed {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let outcome = self.disk.sync_dir(directory);
        *has_failed = outcome.is_err();
        outcome
    }

    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes> {
        self.disk.map(path, length_bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.disk.lock(path)
    }
}
