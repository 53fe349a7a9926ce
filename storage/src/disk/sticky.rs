//! A disk on which the sync of a directory that failed once never succeeds again.
//!
//! All files of an engine share one directory, and its threads sync it for each other. The operating system reports
//! a failed sync once, to one of those who ask, and what the others had created may be lost with it: so all are
//! told. One at a time, since a sync that began before the failure says nothing of it.
//!
//! That directory stays open: else a process that has as many files open as it may could not sync what it created
//! with the last of them, and nobody would know whether that is durable.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskDirectory, DiskFile, LockGuard};

/// See the page.
#[derive(Debug)]
pub(crate) struct StickyDisk {
    disk: Arc<dyn Disk>,
    home: PathBuf,
    syncs: Mutex<Syncs>,
}

#[derive(Debug, Default)]
struct Syncs {
    /// The home directory, once it was synced.
    home: Option<Arc<dyn DiskDirectory>>,
    failed: BTreeSet<PathBuf>,
}

impl StickyDisk {
    /// On top of another disk; the home directory is that which stays open from its first sync on.
    pub(crate) fn new(disk: Arc<dyn Disk>, home: &Path) -> Self {
        Self { disk, home: home.into(), syncs: Mutex::default() }
    }

    fn opened(&self, syncs: &mut Syncs, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>> {
        if directory != self.home {
            return self.disk.open_dir(directory);
        }
        let home = match syncs.home.take() {
            Some(home) => home,
            None => self.disk.open_dir(directory)?,
        };
        syncs.home = Some(Arc::clone(&home));
        Ok(home)
    }
}

impl Disk for StickyDisk {
    fn takes_time(&self) -> bool {
        self.disk.takes_time()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list_directories(directory)
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.remove_dir(directory)?;
        // One of the same name is another.
        self.syncs.lock().failed.remove(directory);
        Ok(())
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

    fn open_dir(&self, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>> {
        self.disk.open_dir(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut syncs = self.syncs.lock();
        if syncs.failed.contains(directory) {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let outcome = self.opened(&mut syncs, directory)?.sync();
        if outcome.is_err() {
            syncs.failed.insert(directory.into());
        }
        outcome
    }

    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes> {
        self.disk.map(path, length_bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.disk.lock(path)
    }
}
