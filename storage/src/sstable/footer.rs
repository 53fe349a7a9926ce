//! The footer: the last bytes of a table, which say what the file is and where its parts begin.

use bytes::Buf;

use super::{FileId, section};
use crate::error::{Error, Result};

/// Length of the footer in bytes.
pub(crate) const FOOTER_LEN: usize = 32 + 4 + 8 + section::CHECKSUM_LEN;

const MAGIC: &[u8; 8] = b"HELENSST";
/// Where in the footer it is.
const MAGIC_AT: usize = 32 + 4;
/// The format version that this build writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 4;

/// Offsets of the parts; each part ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) id: FileId,
    pub(super) index_offset: u64,
    pub(super) filter_offset: u64,
    pub(super) stats_offset: u64,
}

/// The id that the last bytes of a file claim, if they end like those of a table. They may be damaged all the same.
pub(crate) fn claimed_id(bytes: &[u8; FOOTER_LEN]) -> Option<FileId> {
    let id = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes[MAGIC_AT..][..MAGIC.len()] == *MAGIC).then_some(FileId(id))
}

impl Footer {
    /// Appends the footer, which will lie at `offset` of the file.
    pub(super) fn encode(&self, out: &mut Vec<u8>, offset: u64) {
        let start = out.len();
        for number in [self.id.0, self.index_offset, self.filter_offset, self.stats_offset] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(MAGIC);
        section::seal(out, start, FileId(0), offset);
    }

    /// Parses the footer at `offset`, which is all that follows the parts it describes.
    pub(super) fn parse(bytes: &[u8], offset: u64) -> Result<Self> {
        // The magic number first: a file that is no table at all should be called that.
        if bytes.len() != FOOTER_LEN || bytes[MAGIC_AT..][..MAGIC.len()] != *MAGIC {
            return Err(Error::Malformed { what: "it does not end like an SSTable" });
        }
        let Some(mut fields) = section::verify(bytes, FileId(0), offset) else {
            return Err(Error::Malformed { what: "the footer's checksum is wrong" });
        };
        let mut number = || fields.try_get_u64_le().map_err(|_| BAD_FOOTER);
        let footer = Self {
            id: FileId(number()?),
            index_offset: number()?,
            filter_offset: number()?,
            stats_offset: number()?,
        };
        if fields.try_get_u32_le().map_err(|_| BAD_FOOTER)? != FORMAT_VERSION {
            return Err(Error::Malformed { what: "the format version is not the one this build knows" });
        }
        let ascending = footer.index_offset <= footer.filter_offset
            && footer.filter_offset <= footer.stats_offset
            && footer.stats_offset <= offset;
        if ascending { Ok(footer) } else { Err(BAD_FOOTER) }
    }
}

const BAD_FOOTER: Error = Error::Malformed { what: "the footer is wrong" };
