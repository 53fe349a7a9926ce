//! The operating system's file system.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::{fs::FallocateFlags, io::Errno};

use super::{Disk, DiskDirectory, DiskFile, LockGuard};

/// [`Disk`] on the operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn takes_time(&self) -> bool {
        true
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile { file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile { file }))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile { file: open_regular(path)? }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        names(directory, false)
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        names(directory, true)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        std::fs::remove_dir(directory)?;
        self.sync_dir(directory.parent().unwrap_or(Path::new("")))
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        if directory.as_os_str().is_empty() {
            return Ok(());
        }
        let Some(parent) = directory.parent() else { return Ok(()) };
        if directory.is_dir() {
            // Whoever created it may have died before the sync. Where we may not read, it was not us.
            return match self.sync_dir(parent) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                outcome => outcome,
            };
        }
        self.create_dir_all(parent)?;
        match std::fs::create_dir(directory) {
            // Another process was faster; its sync may still be on the way, so ours follows all the same.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            outcome => outcome?,
        }
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>> {
        // The parent of a relative path of one component is the empty path: the current directory.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        Ok(Arc::new(OsDirectory { file: File::open(directory)? }))
    }

    #[expect(unsafe_code, reason = "a memory map is a promise about the file that no type can make")]
    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes> {
        let file = open_regular(path)?;
        if file.metadata()?.len() < length_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if length_bytes == 0 {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(length_bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: what is mapped never changes: SSTables are complete and synced before they get the name by
        // which they are opened, are never written to or truncated afterwards, only unlinked (which leaves maps
        // intact), and the lock of the data directory keeps other engines away.
        let map = unsafe { memmap2::MmapOptions::new().len(length).map(&file)? };
        Ok(Bytes::from_owner(map))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(OsLock { path: path.to_owned(), _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Opens a file to read. Opening a pipe would wait for somebody to write into it.
fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path)
}

/// What is directly below a directory, ascending.
fn names(directory: &Path, are_directories: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // A name that is not UTF-8 is not one of ours.
        if let (true, Ok(name)) =
            (entry.file_type()?.is_dir() == are_directories, entry.file_name().into_string())
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[derive(Debug)]
struct OsDirectory {
    file: File,
}

impl DiskDirectory for OsDirectory {
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
}

impl DiskFile for OsFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        if length_bytes == 0 {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length_bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // Without reservation, a full disk shows at a later write instead. Writing zeros would not
                // change that on the copy-on-write file systems that lack fallocate.
                Err(Errno::OPNOTSUPP) => return self.grow(length_bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    // What was reserved and never written is marked so in the file system's tree, and each sync of a write to it has to
    // wait for a change of that mark to be journalled: milliseconds instead of microseconds. Where ext4 keeps what was
    // written with one call as one piece of its cache, each small write into a piece walks through all its blocks: after
    // pieces of a mebibyte a group takes a tenth more processor time than after these, while pages take 3.5 times as much
    // to fill (Linux 6.18).
    fn fill(&self, range: Range<u64>) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        for offset in range.clone().step_by(ZEROS.len()) {
            let count = (range.end - offset).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..count], offset)?;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl OsFile {
    fn grow(&self, length_bytes: u64) -> io::Result<()> {
        if self.len()? < length_bytes { self.file.set_len(length_bytes) } else { Ok(()) }
    }
}

/// The operating system releases the lock when the last handle of the file closes, also when a process dies.
#[derive(Debug)]
struct OsLock {
    path: PathBuf,
    _file: File,
}

impl LockGuard for OsLock {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}
