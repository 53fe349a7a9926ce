//! Numbers distributed as a file says.

use rand::RngExt;

use super::Random;

/// Why a file is no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct HistogramError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// Buckets of equal width, each with a weight.
#[derive(Debug, Clone)]
pub struct Histogram {
    block_size: u64,
    weights: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Parses `BlockSize⇥n`, then a line `bucket⇥weight` for each bucket, from 0 up.
    ///
    /// # Errors
    /// If a line is not that, buckets are missing, or all weights are 0.
    pub fn parse(text: &str) -> Result<Self, HistogramError> {
        let fail = |line: usize, why| HistogramError { line: line + 1, why };
        let mut lines = text.lines().enumerate();
        let block_size = lines
            .next()
            .and_then(|(_, first)| first.strip_prefix("BlockSize\t")?.trim().parse().ok())
            .filter(|&size| size > 0)
            .ok_or(fail(0, "expected BlockSize, a tab, and a number above 0"))?;
        let mut weights = Vec::new();
        for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
            let (bucket, weight) =
                text.split_once('\t').ok_or(fail(line, "expected a bucket, a tab, and a weight"))?;
            if bucket.trim().parse() != Ok(weights.len()) {
                return Err(fail(line, "buckets are numbered from 0, one after the other"));
            }
            let weight: u32 =
                weight.trim().parse().map_err(|_| fail(line, "expected a weight, a whole number"))?;
            weights.push(u64::from(weight));
        }
        let total = weights.iter().sum();
        if total == 0 {
            return Err(fail(0, "no bucket has a weight"));
        }
        Ok(Self { block_size, weights, total })
    }

    /// The upper end of a bucket. As YCSB, the last bucket counts as the one before it: its numbers do not start a new
    /// block.
    pub fn next(&self, random: &mut Random) -> u64 {
        let mut left = random.random_range(0..self.total);
        let last = self.weights.len() - 1;
        for (bucket, &weight) in (0u64..).zip(&self.weights[..last]) {
            // YCSB subtracts first and accepts 0, so a bucket takes one draw from its successor.
            if left <= weight {
                return (bucket + 1) * self.block_size;
            }
            left -= weight;
        }
        last as u64 * self.block_size
    }

    /// The largest number it can draw.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.weights.len() as u64 * self.block_size
    }
}
