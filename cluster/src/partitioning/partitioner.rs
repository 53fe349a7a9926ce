//! From keys to tokens.

use super::Token;

/// How a cluster hashes keys; chosen when the cluster is formed, the same on all its nodes for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partitioner {
    /// Murmur3 as Cassandra computes it.
    #[default]
    Murmur3,
    /// Keys in their own order: the token is the first eight bytes of the key, shorter keys with zeros behind.
    ///
    /// Neighbouring keys are on the same nodes, so a range of keys is read from few of them, and a popular range
    /// heats few of them. Keys that share eight bytes share a token, and so their replicas.
    ByteOrdered,
}

impl Partitioner {
    /// Every partitioner.
    pub const ALL: [Self; 2] = [Self::Murmur3, Self::ByteOrdered];

    /// Its name in settings, greetings and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Murmur3 => "murmur3",
            Self::ByteOrdered => "byte-ordered",
        }
    }

    /// The partitioner of a name, if this build has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|partitioner| partitioner.name() == name)
    }

    /// Reads a token as people write it: a decimal number as [`Token`] shows it, without `+` and zeros in front, or for
    /// byte-ordered ones up to eight bytes in hexadecimal.
    ///
    /// # Errors
    /// What it should be.
    pub fn parse_token(self, text: &str) -> Result<Token, String> {
        let token = match self {
            Self::Murmur3 => text.parse().ok().map(Token).filter(|token| token.to_string() == text),
            Self::ByteOrdered => from_hex(text).map(Token::from_ordered_bytes),
        };
        let expected = match self {
            Self::Murmur3 => "a whole number of 64 bits such as -42",
            Self::ByteOrdered => "one to eight bytes in hexadecimal, such as 6d",
        };
        token.filter(|token| *token != Token::MIN).ok_or_else(|| {
            format!("expected a token, {expected}, above the lowest; found `{}`", text.escape_debug())
        })
    }

    /// The token of a client's key.
    pub fn token(self, key: &[u8]) -> Token {
        match self {
            Self::Murmur3 => murmur3_token(key),
            Self::ByteOrdered => first_bytes(key),
        }
    }
}

fn from_hex(text: &str) -> Option<[u8; 8]> {
    let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || text.is_empty() || text.len() > 16 || !text.len().is_multiple_of(2) {
        return None;
    }
    // Zeros behind the last digit are the bytes that a short key lacks.
    u64::from_str_radix(&format!("{text:0<16}"), 16).ok().map(u64::to_be_bytes)
}

fn first_bytes(key: &[u8]) -> Token {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(key) {
        *to = *from;
    }
    Token::from_ordered_bytes(bytes)
}

/// Cassandra's `Murmur3Partitioner`: the first half of the hash; the empty key has the lowest token, which no
/// other key may have.
fn murmur3_token(key: &[u8]) -> Token {
    if key.is_empty() {
        return Token::MIN;
    }
    match murmur3_x64_128_first_half(key) {
        i64::MIN => Token::MAX,
        hash => Token(hash),
    }
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// MurmurHash3_x64_128 (Austin Appleby, public domain) with seed 0, first half, with Cassandra's deviation: bytes
/// of the tail are sign-extended before they are shifted, so a byte ≥ 0x80 also flips all bits above it.
fn murmur3_x64_128_first_half(key: &[u8]) -> i64 {
    let (mut h1, mut h2) = (0u64, 0u64);
    let (blocks, tail) = key.as_chunks::<16>();

    for block in blocks {
        let (k1, k2) = halves(block);
        h1 ^= scramble_first(k1);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= scramble_second(k2);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }

    let (low, high) = tail.split_at(tail.len().min(8));
    h2 ^= scramble_second(sign_extended(high));
    h1 ^= scramble_first(sign_extended(low));

    h1 ^= key.len() as u64;
    h2 ^= key.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finalize(h1);
    h2 = finalize(h2);
    h1.wrapping_add(h2).cast_signed()
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
    (both as u64, (both >> 64) as u64)
}

/// Up to eight bytes, little endian, each sign-extended and mixed in by exclusive or.
fn sign_extended(bytes: &[u8]) -> u64 {
    let extended = bytes.iter().enumerate().map(|(at, byte)| i64::from(byte.cast_signed()) << (8 * at));
    extended.fold(0, |mixed, byte| mixed ^ byte).cast_unsigned()
}

fn scramble_first(k1: u64) -> u64 {
    k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn scramble_second(k2: u64) -> u64 {
    k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finalize(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}
