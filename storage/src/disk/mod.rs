//! The disk seam: everything the engine asks of files, so that a simulation can forget, tear and fail.
//!
//! Production is [`os`]; [`simulated`] keeps files in memory, forgets what was not synced when it crashes, and
//! fails on cue. The rules the engine obeys, and the simulation enforces, are those of POSIX file systems: a
//! write is not durable before `sync_data`; a new, renamed or removed name is not durable before `sync_dir` of its
//! directory; unsynced writes may survive in any subset and order; after a failed sync nothing is known about
//! the bytes it should have covered.

use std::{
    fmt::Debug,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

pub mod os;
pub mod simulated;
mod sticky;

pub use os::OsDisk;
pub use simulated::{Damage, Fault, Repeat, SimulatedDisk};
pub(crate) use sticky::StickyDisk;

/// A file system, as far as the engine needs one. Paths are absolute or relative to the process as the caller
/// chose them; the engine never leaves its data directory.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates a file that must not exist, open for reading and writing. The name is durable after
    /// [`Disk::sync_dir`] of its directory only.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file to read it only: it need not be writable. Writes fail.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }
    /// Names of the files (not directories) directly below `directory`, in ascending order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents; existing ones are fine. What was created is durable on return.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;
    /// Renames a file, replacing `to` atomically if it exists. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must not exist: two names of one file. Durable after [`Disk::sync_dir`] of
    /// the new name's directory.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Names of the directories directly below `directory`, in ascending order.
    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Removes a directory that has no files. Durable on return.
    fn remove_dir(&self, directory: &Path) -> io::Result<()>;
    /// Removes a file's name. Open handles and maps stay readable.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens a directory, so that syncing its names takes no file descriptor any more.
    fn open_dir(&self, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>>;
    /// Makes creations, renames and removals of names in `directory` durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.open_dir(directory)?.sync()
    }
    /// The first `length_bytes` of a file that will never change again, readable without system calls where the
    /// disk can (a memory map). Fails with [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes>;
    /// Takes the exclusive lock of a data directory by its lock file `path` (created if missing); `None` when
    /// another holder has it. Dropping the guard releases it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;
    /// Whether it is one of a machine whose time and processors others want as well.
    fn takes_time(&self) -> bool;
}

/// An open directory.
pub trait DiskDirectory: Debug + Send + Sync {
    /// As [`Disk::sync_dir`].
    fn sync(&self) -> io::Result<()>;
}

/// An open file. All methods take `&self`: positions are explicit, so handles are shared between threads.
pub trait DiskFile: Debug + Send + Sync {
    /// Fills `buffer` from `offset`; fails with [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file as needed. Not durable before a sync.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reserves space up to `length_bytes` and grows the file to that length with zeros, so that later writes
    /// inside it cannot run out of disk. Durable after [`DiskFile::sync_all`].
    fn allocate(&self, length_bytes: u64) -> io::Result<()>;
    /// Writes the zeros of a new file that was allocated, where that makes syncs of later writes concern nothing but
    /// their bytes. Costs as much writing as the range is long.
    fn fill(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes written bytes, and the length needed to read them, durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes and all metadata durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Debug + Send + Sync {
    /// The lock file.
    fn path(&self) -> PathBuf;
}
