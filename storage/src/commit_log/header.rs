//! The header of the files that hold frames: commit log segments and manifests.
//!
//! ```text
//! magic, 8 bytes │ version u32 │ crc32 u32 │ id u64 │ length u64        all LE; crc32 of the header with itself as 0
//! ```
//!
//! Such a file gets its name after its first `length` bytes were synced. So a file that has the name, and not
//! a valid header or not that many bytes, rotted.

use std::path::Path;

use bytes::Buf;

use crate::error::{Error, Result};

/// Where the first frame starts.
pub(crate) const HEADER_BYTES: usize = 32;
const VERSION: u32 = 1;

/// Tells the kinds of files apart.
pub(crate) type Magic = [u8; 8];

/// The header of a file that is `length_bytes` long when it gets its name.
pub(crate) fn encode(magic: Magic, id: u64, length_bytes: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&magic);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&id.to_le_bytes());
    header[24..].copy_from_slice(&length_bytes.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks the header at the start of a file's contents against the file's name and its length.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn check(path: &Path, magic: Magic, id: u64, contents: &[u8]) -> Result<()> {
    let corrupt = |what: String| Error::Corrupt { path: path.into(), offset: 0, what };
    let Some(stored) = contents.get(..HEADER_BYTES) else {
        return Err(corrupt("the header is cut short".into()));
    };
    if stored[..8] != magic {
        return Err(corrupt("the magic number is wrong".into()));
    }
    let version = (&stored[8..]).get_u32_le();
    let length_bytes = (&stored[24..]).get_u64_le();
    if stored != encode(magic, id, length_bytes) {
        return Err(corrupt(match version {
            VERSION => "the header is damaged, or that of another file".into(),
            _ => format!("format version {version} is unknown, or the header is damaged"),
        }));
    }
    if length_bytes > contents.len() as u64 {
        return Err(corrupt(format!("it has {} of {length_bytes} bytes", contents.len())));
    }
    Ok(())
}
