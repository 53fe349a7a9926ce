//! How large the records of a table are: counts per power of two.

use bytes::Buf;

use crate::error::{Error, Result};

/// Sizes of records in bytes, key included. A class takes those from a power of two up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeHistogram {
    /// Records of each class; no table has one of 4 GiB.
    classes: [u64; Self::CLASSES],
}

impl Default for SizeHistogram {
    fn default() -> Self {
        Self { classes: [0; Self::CLASSES] }
    }
}

impl SizeHistogram {
    const CLASSES: usize = 32;

    /// Counts a record. The empty one does not exist, and would count as one of a byte.
    pub fn count(&mut self, size_bytes: usize) {
        let class = size_bytes.max(1).ilog2() as usize;
        self.classes[class.min(Self::CLASSES - 1)] += 1;
    }

    /// Counts all that another one has counted.
    pub fn add(&mut self, other: &Self) {
        self.classes.iter_mut().zip(other.classes).for_each(|(sum, records)| *sum += records);
    }

    /// The smallest size of each class that has records, and how many, ascending.
    pub fn classes(&self) -> impl Iterator<Item = (u64, u64)> {
        let classes = self.classes.iter().enumerate();
        classes.filter(|(_, records)| **records > 0).map(|(log2, records)| (1 << log2, *records))
    }

    /// An upper bound, less than twice too large, of the size that so great a share of the records does not exceed.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.classes().map(|(_, records)| records).sum();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let mut reached = self.classes().skip_while(|(_, records)| {
            seen += records;
            seen < rank
        });
        reached.next().map(|(size, _)| 2 * size - 1)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.classes().count() as u32).to_le_bytes());
        for (size, records) in self.classes() {
            out.extend_from_slice(&size.ilog2().to_le_bytes());
            out.extend_from_slice(&records.to_le_bytes());
        }
    }

    pub(super) fn parse(input: &mut &[u8]) -> Result<Self> {
        let mut histogram = Self::default();
        for _ in 0..input.try_get_u32_le().map_err(|_| BAD_SIZES)? {
            let log2 = input.try_get_u32_le().map_err(|_| BAD_SIZES)? as usize;
            let records = input.try_get_u64_le().map_err(|_| BAD_SIZES)?;
            *histogram.classes.get_mut(log2).ok_or(BAD_SIZES)? = records;
        }
        Ok(histogram)
    }
}

const BAD_SIZES: Error = Error::Malformed { what: "the size histogram is wrong" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_less_than_twice_too_large() {
        let mut histogram = SizeHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|size| histogram.count(size));
        for (share, exact) in [(0.0, 1), (0.1, 100), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = histogram.quantile(share).unwrap();
            assert!((exact..2 * exact).contains(&found), "{found} for {exact}");
        }
    }
}
