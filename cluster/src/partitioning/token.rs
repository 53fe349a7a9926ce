//! Points of the ring, and how a node draws its own.

use std::{collections::BTreeSet, fmt};

use rand::Rng;

/// A point of the ring. [`Token::MIN`] is the token of the empty key and belongs to no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub i64);

impl Token {
    /// The lowest token.
    pub const MIN: Self = Self(i64::MIN);
    /// The highest token.
    pub const MAX: Self = Self(i64::MAX);

    /// Eight bytes whose byte order is the order of tokens: the sign bit is flipped, so that negative tokens come
    /// first, and the rest is big endian.
    pub fn to_ordered_bytes(self) -> [u8; 8] {
        (self.0.cast_unsigned() ^ SIGN_BIT).to_be_bytes()
    }

    /// Inverse of [`Token::to_ordered_bytes`].
    pub fn from_ordered_bytes(bytes: [u8; 8]) -> Self {
        Self((u64::from_be_bytes(bytes) ^ SIGN_BIT).cast_signed())
    }

    /// Steps from `self` clockwise to `to`; zero if they are equal.
    pub fn distance_to(self, to: Self) -> u64 {
        to.0.wrapping_sub(self.0).cast_unsigned()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const SIGN_BIT: u64 = 1 << 63;

/// Draws `count` different tokens, ascending, for a node that starts for the first time. The same generator state
/// gives the same tokens.
///
/// Random tokens need no agreement and no knowledge of the ring; that two nodes draw the same one of 2^64 is
/// left to membership, which refuses the second.
pub fn draw_tokens(rng: &mut impl Rng, count: usize) -> Vec<Token> {
    let mut drawn = BTreeSet::new();
    while drawn.len() < count {
        let token = Token(rng.next_u64().cast_signed());
        if token != Token::MIN {
            drawn.insert(token);
        }
    }
    drawn.into_iter().collect()
}
