//! Where a key lies between the smallest and the largest.

/// The narrowest part of key space, halved again and again, that has all keys of a table in it.
///
/// What all keys begin with, bit by bit, says nothing about where one lies; the 64 bits behind that do, as a fraction.
/// So halves, quarters and so on of the space have fixed bounds, for every choice of keys that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeySpace {
    /// Bits that all keys begin with.
    common_bits: usize,
}

impl KeySpace {
    /// That of all keys from the smallest to the largest.
    pub(crate) fn between(smallest: &[u8], largest: &[u8]) -> Self {
        let common = smallest.iter().zip(largest).take_while(|(a, b)| a == b).count();
        let differing = match (smallest.get(common), largest.get(common)) {
            (Some(a), Some(b)) => (a ^ b).leading_zeros() as usize,
            _ => 0,
        };
        Self { common_bits: common * 8 + differing }
    }

    /// The place of a key, in 2^64ths of the space. Ascends with the keys.
    pub(crate) fn position(self, key: &[u8]) -> u64 {
        let behind = key.get(self.common_bits / 8..).unwrap_or_default();
        let mut bytes = [0; 16];
        let known = behind.len().min(9);
        bytes[..known].copy_from_slice(&behind[..known]);
        ((u128::from_be_bytes(bytes) << (self.common_bits % 8)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_ascend_and_use_what_differs() {
        let keys: [&[u8]; 6] = [b"user0", b"user1", b"user12", b"user4", b"user40000000000", b"user9"];
        let space = KeySpace::between(keys[0], keys[5]);
        let positions = keys.map(|key| space.position(key));
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions[0], 0);
        assert_eq!(positions[5], 9 << 60, "of sixteen digits that could be the tenth");
    }

    #[test]
    fn tokens_are_places_themselves() {
        let space = KeySpace::between(&[0; 12], &[0xff; 12]);
        assert_eq!(space, KeySpace::default());
        assert_eq!(space.position(&[0x80, 0, 0, 0, 0, 0, 0, 1, 77, 3]), (1 << 63) + 1);
    }

    #[test]
    fn odd_keys_have_a_place() {
        for (smallest, largest) in [("", ""), ("a", "a"), ("a", "ab"), ("", "\u{7f}"), ("abc", "abd")] {
            let space = KeySpace::between(smallest.as_bytes(), largest.as_bytes());
            assert!(space.position(smallest.as_bytes()) <= space.position(largest.as_bytes()));
        }
    }
}
