//! Uniform, hotspot, exponential and sequential numbers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rand::RngExt;

use super::Random;

/// All of a range alike.
#[derive(Debug, Clone)]
pub struct Uniform {
    low: u64,
    high: u64,
}

impl Uniform {
    /// From `low` to `high` inclusive, `low ≤ high`.
    #[must_use]
    pub fn new(low: u64, high: u64) -> Self {
        Self { low, high: high.max(low) }
    }

    /// The next number.
    pub fn next(&self, random: &mut Random) -> u64 {
        random.random_range(self.low..=self.high)
    }
}

/// A share of the operations goes to a share of the range: its lowest numbers.
#[derive(Debug, Clone)]
pub struct Hotspot {
    low: u64,
    hot: u64,
    cold: u64,
    hot_operations: f64,
}

impl Hotspot {
    /// From `low` to `high` inclusive; `hot_data` and `hot_operations` are shares, 0..=1.
    #[must_use]
    pub fn new(low: u64, high: u64, hot_data: f64, hot_operations: f64) -> Self {
        let items = high.saturating_sub(low) + 1;
        let hot = ((items as f64 * hot_data) as u64).min(items);
        Self { low, hot, cold: items - hot, hot_operations }
    }

    /// The next number.
    pub fn next(&self, random: &mut Random) -> u64 {
        let wants_hot = random.random::<f64>() < self.hot_operations;
        // Where one of the sets is empty, the other takes its share.
        if self.cold == 0 || (wants_hot && self.hot > 0) {
            self.low + random.random_range(0..self.hot)
        } else {
            self.low + self.hot + random.random_range(0..self.cold)
        }
    }
}

/// Distances, exponentially distributed.
#[derive(Debug, Clone)]
pub struct Exponential {
    gamma: f64,
}

impl Exponential {
    /// `percentile` percent of the distances are below `range`.
    #[must_use]
    pub fn new(percentile: f64, range: f64) -> Self {
        Self { gamma: -(1.0 - percentile / 100.0).ln() / range }
    }

    /// The next distance.
    pub fn next(&self, random: &mut Random) -> u64 {
        (-(1.0 - random.random::<f64>()).ln() / self.gamma) as u64
    }
}

/// One after the other, all clients together, and again from the start.
#[derive(Debug, Clone)]
pub struct Sequential {
    low: u64,
    items: u64,
    drawn: Arc<AtomicU64>,
}

impl Sequential {
    /// From `low` to `high` inclusive; clones share the place.
    #[must_use]
    pub fn new(low: u64, high: u64) -> Self {
        Self { low, items: high.saturating_sub(low) + 1, drawn: Arc::default() }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.low + self.drawn.fetch_add(1, Ordering::Relaxed) % self.items
    }
}
