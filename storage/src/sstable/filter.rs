//! The bloom filter (Bloom, CACM 13(7), 1970): says of most absent keys that they are absent, without a read.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use bloomfilter::Bloom;

use crate::error::{Error, Result};

/// Keys the two SipHash functions of every filter. Part of the file format: it never changes. Its halves differ,
/// since equal ones would make the two hashes equal and ruin double hashing.
const SEED: [u8; 32] = *b"helenus: sstable filter, seed 1\n";

/// xxh3 of a storage key, computed once per read for all filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes a storage key.
    pub fn of(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key))
    }
}

/// The item of the filter. The standard `Hash` of integers and slices feeds native-endian numbers; this feeds the
/// same bytes everywhere.
struct Item(KeyHash);

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.0.to_le_bytes());
    }
}

/// The filter of one table.
pub(super) struct Filter {
    bloom: Bloom<Item>,
}

impl Filter {
    /// Builds the filter of these keys, at least one. A rate outside of what a filter can have is brought to the
    /// nearest that it can.
    pub(super) fn build(hashes: &[KeyHash], false_positive_rate: f64) -> Result<Self> {
        // `max` replaces NaN, which `clamp` would keep.
        let rate = false_positive_rate.max(1e-6).clamp(1e-6, 0.9);
        let bloom = Bloom::new_for_fp_rate_with_seed(hashes.len().max(1), rate, &SEED).map_err(malformed)?;
        let mut filter = Self { bloom };
        for hash in hashes {
            filter.bloom.set(&Item(*hash));
        }
        Ok(filter)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bloom.as_slice());
    }

    /// Parses a filter. The caller has verified its checksum: the parser believes the number of hash functions.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let bloom = Bloom::from_bytes(bytes).map_err(malformed)?;
        if bloom.is_empty() {
            return Err(malformed("it has no bits"));
        }
        Ok(Self { bloom })
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bloom.as_slice().len()
    }

    /// False only if no key with this hash is in the table.
    pub(super) fn may_contain(&self, hash: KeyHash) -> bool {
        self.bloom.check(&Item(hash))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Filter").field("bits", &self.bloom.len()).finish_non_exhaustive()
    }
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(numbers: std::ops::Range<u64>) -> Vec<KeyHash> {
        numbers.map(|number| KeyHash::of(&number.to_le_bytes())).collect()
    }

    #[test]
    fn the_false_positive_rate_is_what_the_formula_says() {
        for rate in [0.1, 0.01, 0.001] {
            let present = hashes(0..20_000);
            let filter = Filter::build(&present, rate).unwrap();
            assert!(present.iter().all(|hash| filter.may_contain(*hash)), "a false negative");
            let absent = hashes(1_000_000..1_200_000);
            let positives = absent.iter().filter(|hash| filter.may_contain(**hash)).count();
            let measured = positives as f64 / absent.len() as f64;
            assert!((measured / rate - 1.0).abs() < 0.2, "{measured} instead of {rate}");
        }
    }

    #[test]
    fn the_header_has_the_documented_bytes() {
        let mut bytes = Vec::new();
        Filter::build(&hashes(0..100), 0.01).unwrap().encode(&mut bytes);
        let mut header = vec![1];
        header.extend_from_slice(&120_u64.to_le_bytes()); // ⌈100 · ln 0.01 / −8 ln² 2⌉ bytes
        header.extend_from_slice(&7_u32.to_le_bytes());
        header.extend_from_slice(b"helenus: sstable filter, seed 1\n");
        assert_eq!(bytes[..45], header);
        assert_eq!(bytes.len(), 45 + 120);
    }

    #[test]
    fn rates_that_no_filter_can_have_are_brought_to_the_nearest() {
        for rate in [f64::NAN, -1.0, 0.0, 1.0, f64::INFINITY] {
            let filter = Filter::build(&hashes(0..10), rate).unwrap();
            assert!(hashes(0..10).iter().all(|hash| filter.may_contain(*hash)));
        }
    }
}
