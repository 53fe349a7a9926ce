//! A disk that shows each operation to a watcher, at the moment at which a power cut in its middle would strike: when
//! its change is made and nobody was told, or, for a sync, just before it.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use helenus_storage::disk::{Disk, DiskDirectory, DiskFile, LockGuard, SimulatedDisk};

/// Is told the number of the operation.
pub(crate) type Watcher = Arc<dyn Fn(u64) + Send + Sync>;

/// [`SimulatedDisk`] under observation.
#[derive(Clone)]
pub(crate) struct WatchedDisk {
    disk: SimulatedDisk,
    watcher: Watcher,
}

impl fmt::Debug for WatchedDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(formatter)
    }
}

impl WatchedDisk {
    pub(crate) fn new(disk: SimulatedDisk, watcher: Watcher) -> Self {
        Self { disk, watcher }
    }

    fn change<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = self.disk.operations();
        let outcome = operation();
        let number = self.disk.operations();
        // What was refused before it began is no operation.
        if number > before {
            (self.watcher)(number);
        }
        outcome
    }

    fn sync(&self, operation: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        (self.watcher)(self.disk.operations() + 1);
        operation()
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile { disk: self.clone(), file })
    }
}

impl Disk for WatchedDisk {
    fn takes_time(&self) -> bool {
        self.disk.takes_time()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.change(|| self.disk.create(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path).map(|file| self.file(file))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.change(|| self.disk.create_dir_all(directory))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|| self.disk.rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|| self.disk.hard_link(from, to))
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list_directories(directory)
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        self.change(|| self.disk.remove_dir(directory))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|| self.disk.remove(path))
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>> {
        let directory = self.disk.open_dir(directory)?;
        Ok(Arc::new(WatchedDirectory { disk: self.clone(), directory }))
    }

    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes> {
        self.disk.map(path, length_bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct WatchedDirectory {
    disk: WatchedDisk,
    directory: Arc<dyn DiskDirectory>,
}

impl DiskDirectory for WatchedDirectory {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync(|| self.directory.sync())
    }
}

#[derive(Debug)]
struct WatchedFile {
    disk: WatchedDisk,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for WatchedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(|| self.file.write_all_at(bytes, offset))
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        self.disk.change(|| self.file.allocate(length_bytes))
    }

    fn fill(&self, range: Range<u64>) -> io::Result<()> {
        self.disk.change(|| self.file.fill(range.clone()))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(|| self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.sync(|| self.file.sync_all())
    }
}

/// Names of the files in a directory that end so.
pub(crate) fn names(disk: &SimulatedDisk, directory: &Path) -> Vec<String> {
    let inside = |path: &PathBuf| path.parent() == Some(directory);
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    disk.files().into_iter().filter(inside).filter_map(name).collect()
}
