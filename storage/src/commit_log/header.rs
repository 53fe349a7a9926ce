//! The header of the files that hold frames: commit log segments and manifests.
//!
//! ```text
//! magic, 8 bytes │ version u32 │ crc32 u32 │ id u64 │ length u64 │ durable u64 │ salt u64                    all LE
//! ```
//!
//! The checksum is that of the header with itself as zero. Such a file gets its name after its first `length`
//! bytes were synced. So a file that has the name, and not a valid header or not that many bytes, rotted.
//!
//! What lies behind the first `durable` bytes may be anything: zeros, or, in a file that was used before, what it
//! held then. No frame of that passes for one of this file, since frames are checked against the salt, and no two
//! births have the same one.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Buf;

use crate::{
    disk::{Disk, DiskFile},
    error::{Error, Result, SYNC_DIRECTORY},
    leisure::{Leisure, Urgency},
};

/// Where the first frame starts.
pub(crate) const HEADER_BYTES: usize = 48;
const VERSION: u32 = 5;

/// Bytes of a file that are filled in one go.
const FILLED_AT_ONCE: usize = 1 << 20;

/// Tells the kinds of files apart.
pub(crate) type Magic = [u8; 8];

/// What a file says of its birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    /// Bytes that the file had when it got its name.
    pub(crate) length: u64,
    /// Frames before this were there and durable when it got its name.
    pub(crate) durable: u64,
    /// Tells the frames of this file from all others, see [`super::frame`].
    pub(crate) salt: u64,
}

/// Creates such a file durably: preallocated, with its header and its first frames, under a temporary name, then
/// renamed. So a file with the name always has all of that, unless it rotted. Filled, its creation is dearer and
/// syncs of what is written later cheaper, for files whose syncs someone waits for: `filled` says whether the creation
/// itself is waited for.
///
/// # Errors
/// [`Error::StorageFull`], [`Error::TooManyFiles`]: nothing remains, and it can be tried again. After an
/// [`Error::Io`] a temporary file may remain.
pub(crate) fn create(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    (magic, id): (Magic, u64),
    birth: Birth,
    frames: &[u8],
    filled: Option<Urgency<'_>>,
) -> Result<(PathBuf, Arc<dyn DiskFile>)> {
    let contents = [&encode(magic, id, birth), frames].concat();
    publish(disk, directory, name, |temporary| {
        let file = create_afresh(disk, temporary).map_err(|e| ("create", e))?;
        file.allocate(birth.length).map_err(|e| ("allocate", e))?;
        if let Some(is_urgent) = filled {
            fill(disk, &*file, birth.length, is_urgent)?;
        }
        file.write_all_at(&contents, 0).map_err(|e| ("write", e))?;
        Ok(file)
    })
}

/// Writes zeros, little by little unless it is urgent: then the disk gets them little by little as well.
fn fill(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    length: u64,
    is_urgent: Urgency<'_>,
) -> Result<(), (&'static str, std::io::Error)> {
    let mut leisure = Leisure::begin(disk, is_urgent);
    for start in (0..length).step_by(FILLED_AT_ONCE) {
        file.fill(start..length.min(start + FILLED_AT_ONCE as u64)).map_err(|e| ("write", e))?;
        if leisure.is_due() {
            file.sync_data().map_err(|e| ("sync", e))?;
            leisure.rest();
        }
    }
    Ok(())
}

/// As [`create`], out of a file that is not needed any more and has the length already: only its header is written.
/// Its bytes are on the disk already, so syncs of what is written over them need no change of the file system.
///
/// # Errors
/// As [`create`]; the old file may be gone, or have the header of the new one.
pub(crate) fn recycle(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    (magic, id): (Magic, u64),
    birth: Birth,
    old: &Path,
) -> Result<(PathBuf, Arc<dyn DiskFile>)> {
    publish(disk, directory, name, |temporary| {
        disk.rename(old, temporary).map_err(|e| ("rename", e))?;
        let file = disk.open(temporary).map_err(|e| ("open", e))?;
        file.write_all_at(&encode(magic, id, birth), 0).map_err(|e| ("write", e))?;
        Ok(file)
    })
}

/// Gives its name to a file that `fill` makes under a temporary one, once all of it is durable.
fn publish(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<Arc<dyn DiskFile>, (&'static str, std::io::Error)>,
) -> Result<(PathBuf, Arc<dyn DiskFile>)> {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.tmp"));
    let named = fill(&temporary).and_then(|file| {
        file.sync_all().map_err(|e| ("sync", e))?;
        disk.rename(&temporary, &path).map_err(|e| ("rename", e))?;
        Ok(file)
    });
    let file = named.map_err(|(operation, e)| {
        // Gives back what it took; if not, the next attempt or recovery will.
        let _ = disk.remove(&temporary);
        Error::new_file(operation, &path, e)
    })?;
    disk.sync_dir(directory).map_err(|e| Error::io(SYNC_DIRECTORY, directory, e))?;
    Ok((path, file))
}

/// Creates a file in the place of one that an interrupted attempt may have left.
fn create_afresh(disk: &dyn Disk, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
    match disk.create(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            crate::sometimes!("a temporary file was in the way");
            disk.remove(path)?;
            disk.create(path)
        }
        created => created,
    }
}

/// The header of file `id`.
fn encode(magic: Magic, id: u64, birth: Birth) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&magic);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&id.to_le_bytes());
    header[24..32].copy_from_slice(&birth.length.to_le_bytes());
    header[32..40].copy_from_slice(&birth.durable.to_le_bytes());
    header[40..].copy_from_slice(&birth.salt.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks the header at the start of a file against the file's name and its length.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn check(path: &Path, magic: Magic, id: u64, start: &[u8], file_bytes: u64) -> Result<Birth> {
    let corrupt = |what: String| Error::Corrupt { path: path.into(), offset: 0, what };
    let Some(stored) = start.get(..HEADER_BYTES) else {
        return Err(corrupt("the header is cut short".into()));
    };
    if stored[..8] != magic {
        return Err(corrupt("the magic number is wrong".into()));
    }
    let field = |at: usize| (&stored[at..]).get_u64_le();
    let birth = Birth { length: field(24), durable: field(32), salt: field(40) };
    if stored != encode(magic, id, birth) {
        return Err(corrupt(match (&stored[8..]).get_u32_le() {
            VERSION => "the header is damaged, or that of another file".into(),
            version => format!("format version {version} is unknown, or the header is damaged"),
        }));
    }
    if birth.length > file_bytes {
        return Err(corrupt(format!("it has {file_bytes} of {} bytes", birth.length)));
    }
    Ok(birth)
}
