//! Variable-length numbers: LEB128, seven bits a byte, the lowest first, in as few bytes as possible.

use bytes::BufMut;

/// Bytes that a number takes.
pub(crate) const fn len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a number.
pub(crate) fn put(out: &mut impl BufMut, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Takes a number off the front; `None` if there is none, or not in its only encoding.
#[inline]
pub(crate) fn take(input: &mut &[u8]) -> Option<u64> {
    match input.split_first()? {
        (&first, rest) if first < 0x80 => {
            *input = rest;
            Some(u64::from(first))
        }
        _ => take_long(input),
    }
}

/// As [`take`], whatever its length.
fn take_long(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (number, &byte) in input.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(7 * number as u32).filter(|part| part >> (7 * number) == bits)?;
        if byte < 0x80 {
            *input = &input[number + 1..];
            return (byte != 0).then_some(value);
        }
    }
    None
}

/// As [`take`], for numbers that must fit 32 bits.
#[inline]
pub(crate) fn take_u32(input: &mut &[u8]) -> Option<u32> {
    u32::try_from(take(input)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_have_one_encoding() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]);
        for value in edges {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), len(value), "{value}");
            let mut longer = bytes.clone();
            longer.push(7);
            let mut input = &longer[..];
            assert_eq!((take(&mut input), input), (Some(value), &[7][..]));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None, "{value} cut short");
            // The same number with a zero behind it.
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(0);
            assert_eq!(take(&mut &bytes[..]), None, "{value} in more bytes than it needs");
        }
        assert_eq!(take(&mut &[0xff; 11][..]), None);
        assert_eq!(take(&mut &[&[0xff; 9][..], &[2]].concat()[..]), None, "more than 64 bits");
    }
}
