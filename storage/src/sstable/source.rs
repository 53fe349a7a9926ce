//! Where the bytes of a table come from: a memory map, or reads into buffers.
//!
//! A map costs no system call and no buffer, but where the disk fails below it the process dies of SIGBUS, since there
//! is nobody to return an error to. Reads into buffers ([`AccessMode::Standard`]) report such a place as an
//! [`Error::Io`], and the node lives on.

use std::{borrow::Cow, io, path::Path, sync::Arc};

use bytes::Bytes;

use super::{TableFile, section::damaged};
use crate::{
    disk::{Disk, DiskFile},
    error::{Error, Result},
    options::AccessMode,
};

/// The bytes of an open table.
#[derive(Debug)]
pub(super) enum TableSource {
    Map(Bytes),
    File(Arc<dyn DiskFile>),
}

impl TableSource {
    /// Opens a file, which must have at least the recorded length.
    pub(super) fn open(disk: &dyn Disk, path: &Path, file: &TableFile, mode: AccessMode) -> Result<Self> {
        match mode {
            AccessMode::Mmap => match disk.map(path, file.length_bytes) {
                Ok(map) => Ok(Self::Map(map)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let end = disk.open(path).and_then(|file| file.len()).unwrap_or(0);
                    Err(too_short(path, end, file))
                }
                Err(error) => Err(Error::io("map", path, error)),
            },
            AccessMode::Standard => {
                let handle = disk.open(path).map_err(|error| Error::io("open", path, error))?;
                let end = handle.len().map_err(|error| Error::io("measure", path, error))?;
                if end < file.length_bytes {
                    return Err(too_short(path, end, file));
                }
                Ok(Self::File(handle))
            }
        }
    }

    /// The bytes from `offset` on; the caller stays within the length of the file.
    pub(super) fn read(&self, path: &Path, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Map(map) => {
                let from = usize::try_from(offset).ok();
                let bytes = from.and_then(|from| map.get(from..)?.get(..len));
                bytes.map(Cow::Borrowed).ok_or_else(|| damaged(path, offset, "it ends too early"))
            }
            Self::File(file) => {
                let mut buffer = vec![0; len];
                let read = file.read_exact_at(&mut buffer, offset);
                read.map_err(|error| Error::io("read", path, error))?;
                Ok(Cow::Owned(buffer))
            }
        }
    }
}

fn too_short(path: &Path, end: u64, file: &TableFile) -> Error {
    let what = format!("it ends before the {} bytes that the manifest records", file.length_bytes);
    damaged(path, end, what)
}
