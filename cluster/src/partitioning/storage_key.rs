//! The keys of user tables in the storage engine.
//!
//! ```text
//! storage key = token (8 bytes, sign bit flipped, big endian) ‖ escaped key ‖ 0x00 0x01 ‖ suffix
//! escaped key = the client's key, each 0x00 followed by 0xFF
//! ```
//!
//! Three properties carry everything that is built on scans:
//!
//! - *Order*: storage keys are in byte order what (token, key) are in theirs. Where one key is a prefix of another,
//!   its terminator 0x00 0x01 meets either a byte ≥ 0x01, or an escaped zero 0x00 0xFF; it is lower than both.
//! - *Prefix-free*: 0x00 0x01 cannot occur inside an escaped key, where 0xFF follows each 0x00. So no storage key
//!   is a prefix of another key's, and a suffix (sort key, column) may follow without being taken for key bytes.
//! - *Exact*: every key has one encoding, and it decodes to that key.
//!
//! A length in front of the key would be shorter but would order by length; a bare terminator would forbid zeros
//! in keys, and clients may use any byte.

use bytes::{BufMut, Bytes, BytesMut};

use super::Token;

const ZERO: u8 = 0x00;
const ESCAPE: u8 = 0xFF;
const END: u8 = 0x01;
const TOKEN_BYTES: usize = 8;

/// The storage key of a client's key; a suffix may be appended to it.
pub fn storage_key(token: Token, key: &[u8]) -> Bytes {
    let zeros = key.iter().filter(|&&byte| byte == ZERO).count();
    let mut out = BytesMut::with_capacity(TOKEN_BYTES + key.len() + zeros + 2);
    out.put_slice(&token.to_ordered_bytes());
    let mut parts = key.split(|&byte| byte == ZERO);
    out.put_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.put_slice(&[ZERO, ESCAPE]);
        out.put_slice(part);
    }
    out.put_slice(&[ZERO, END]);
    out.freeze()
}

/// A storage key taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKeyParts {
    /// The token.
    pub token: Token,
    /// The client's key. A slice of the storage key if nothing in it was escaped.
    pub key: Bytes,
    /// What follows the key.
    pub suffix: Bytes,
}

/// Bytes that [`storage_key`] cannot have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageKeyError {
    /// Token or terminator are missing.
    #[error("the storage key ends too early")]
    Truncated,
    /// A zero byte is followed by something else than its escape or the end.
    #[error("byte {at} of the storage key is no valid escape")]
    Escape {
        /// Position in the storage key.
        at: usize,
    },
}

/// Takes a storage key apart.
///
/// # Errors
/// [`StorageKeyError`].
pub fn split_storage_key(storage_key: &Bytes) -> Result<StorageKeyParts, StorageKeyError> {
    let token = token_of(storage_key).ok_or(StorageKeyError::Truncated)?;
    let escaped = storage_key.slice(TOKEN_BYTES..);
    let (key, length) = unescape(&escaped)?;
    Ok(StorageKeyParts { token, key, suffix: escaped.slice(length..) })
}

/// The token at the front of a storage key; `None` if it is too short.
pub fn token_of(storage_key: &[u8]) -> Option<Token> {
    storage_key.first_chunk().map(|bytes| Token::from_ordered_bytes(*bytes))
}

/// The key, and how many escaped bytes it took, terminator included.
fn unescape(escaped: &Bytes) -> Result<(Bytes, usize), StorageKeyError> {
    let mut unescaped = BytesMut::new();
    let mut from = 0;
    loop {
        let rest = escaped.get(from..).unwrap_or_default();
        let zero = from + rest.iter().position(|&byte| byte == ZERO).ok_or(StorageKeyError::Truncated)?;
        match escaped.get(zero + 1) {
            // Most keys have no zero, and are not copied at all.
            Some(&END) if from == 0 => return Ok((escaped.slice(..zero), zero + 2)),
            Some(&END) => {
                unescaped.put_slice(&escaped[from..zero]);
                return Ok((unescaped.freeze(), zero + 2));
            }
            Some(&ESCAPE) => {
                unescaped.put_slice(&escaped[from..=zero]);
                from = zero + 2;
            }
            Some(_) => return Err(StorageKeyError::Escape { at: TOKEN_BYTES + zero + 1 }),
            None => return Err(StorageKeyError::Truncated),
        }
    }
}
