//! Checksums of the parts of a table file, and the errors that name the damaged one.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::FileId;
use crate::error::Error;

pub(super) const CHECKSUM_LEN: usize = 8;

/// Appends the checksum of everything in `out` from `start` on, which will lie at `offset` of the file.
pub(super) fn seal(out: &mut Vec<u8>, start: usize, id: FileId, offset: u64) {
    let checksum = checksum(&out[start..], id, offset);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The bytes before the checksum at the end of `sealed`, if they are what was sealed.
pub(super) fn verify(sealed: &[u8], id: FileId, offset: u64) -> Option<&[u8]> {
    let (bytes, stored) = sealed.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(bytes, id, offset) == u64::from_le_bytes(*stored)).then_some(bytes)
}

fn checksum(bytes: &[u8], id: FileId, offset: u64) -> u64 {
    // An odd multiplier spreads small ids over all bits, away from the offsets.
    xxh3_64_with_seed(bytes, id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ offset)
}

/// Damage at a place of a file.
pub(super) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Error {
    Error::Corrupt { path: path.to_owned(), offset, what: what.into() }
}

/// Gives a structural error its place. A record kind of a later build is no damage and stays what it is.
pub(super) fn locate(error: Error, path: &Path, offset: u64) -> Error {
    match error {
        Error::Malformed { what } => damaged(path, offset, what),
        other => other,
    }
}
