//! The bytes of a value: its name in twenty digits, so that larger names are larger bytes, and a filler that depends on
//! the name, so that a torn or mixed value is not taken for a whole one.

use helenus_bench::history::ValueId;

const DIGITS: usize = 20;
const LONGEST_FILLER: u64 = 16 << 10;

/// The bytes of a value.
pub(super) fn bytes(value: ValueId) -> Vec<u8> {
    // One in eight is long: most writes shall be fast, but blocks and segments shall fill.
    let mixed = value.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let length = if mixed.is_multiple_of(8) { mixed % LONGEST_FILLER } else { mixed % 64 };
    let mut bytes = format!("{:0DIGITS$}", value.0).into_bytes();
    bytes.extend((0..length).map(|at| b'a' + u8::try_from((mixed + at) % 26).expect("below 26")));
    bytes
}

/// The value that bytes are, if each of them is right.
pub(super) fn parse(stored: &[u8]) -> Option<ValueId> {
    let digits = std::str::from_utf8(stored.get(..DIGITS)?).ok()?;
    let value = ValueId(digits.parse().ok()?);
    (bytes(value) == stored).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_ordered_like_names_and_whole_or_not_at_all() {
        for name in (0..500).chain([u64::MAX - 1]) {
            let (one, next) = (bytes(ValueId(name)), bytes(ValueId(name + 1)));
            assert_eq!(parse(&one), Some(ValueId(name)));
            assert!(one < next, "{name}");
            assert_eq!(parse(&one[..one.len() - 1]), None, "{name}");
            assert_eq!(parse(&[&next[..DIGITS], &one[DIGITS..], b"!"].concat()), None, "{name}");
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"+0000000000000000001"), None);
    }
}
