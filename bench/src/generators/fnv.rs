//! The hash that scatters record numbers.

/// FNV-1a, 64 bits, of a number's eight bytes from the lowest; as YCSB, the absolute value of the signed result.
///
/// The one hash that has no absolute value, `i64::MIN`, stays itself there and here (2⁶³ as unsigned).
#[must_use]
pub fn fnv_hash(number: u64) -> u64 {
    const OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 1_099_511_628_211;
    let hash = number
        .to_le_bytes()
        .iter()
        .fold(OFFSET_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash.cast_signed().unsigned_abs()
}
