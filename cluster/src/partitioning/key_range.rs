//! Ranges of storage keys: what a scan reads.

use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};

use super::Token;

/// The storage keys from one on, until another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first that may be in it. Empty: it begins with the lowest token.
    pub from: Bytes,
    /// The first behind it; `None`: it ends with the highest token.
    pub until: Option<Bytes>,
}

impl KeyRange {
    /// Whether nothing can be in it.
    pub fn is_empty(&self) -> bool {
        self.until.as_ref().is_some_and(|until| *until <= self.from)
    }

    /// Whether a storage key is in it.
    pub fn contains(&self, storage_key: &[u8]) -> bool {
        self.from[..] <= *storage_key && self.until.as_ref().is_none_or(|until| *storage_key < until[..])
    }

    /// The same for the storage engine.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let until = self.until.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.from[..]), until)
    }

    /// The token of the first storage key that may be in it.
    pub fn first_token(&self) -> Token {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(&self.from).for_each(|(to, from)| *to = *from);
        Token::from_ordered_bytes(bytes)
    }
}

/// The lowest storage key behind this one.
pub fn behind_key(storage_key: &[u8]) -> Bytes {
    let mut behind = BytesMut::with_capacity(storage_key.len() + 1);
    behind.put_slice(storage_key);
    behind.put_u8(0);
    behind.freeze()
}

/// Where the storage keys of a token begin.
pub fn start_of_token(token: Token) -> Bytes {
    Bytes::copy_from_slice(&token.to_ordered_bytes())
}
