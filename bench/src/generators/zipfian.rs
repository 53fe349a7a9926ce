//! Zipfian numbers: item *i* (from 0) with probability 1 / ((i+1)^θ ζ(n, θ)).

use rand::RngExt;

use super::{Random, fnv_hash};

/// YCSB's θ.
pub const ZIPFIAN_CONSTANT: f64 = 0.99;

/// Numbers of which the smallest are the most popular.
///
/// *Source*: Gray, Sundaresan, Englert, Baclawski, Weinberger, "Quickly Generating Billion-Record Synthetic Databases",
/// SIGMOD 1994, section 3.2; as YCSB, the first two items get their exact share and the rest the paper's approximation.
#[derive(Debug, Clone)]
pub struct Zipfian {
    base: u64,
    items: u64,
    theta: f64,
    zeta_two: f64,
    zeta: f64,
    eta: f64,
}

impl Zipfian {
    /// From `low` to `high` inclusive, `low ≤ high`. Costs a power for each item.
    #[must_use]
    pub fn new(low: u64, high: u64) -> Self {
        let items = high.saturating_sub(low) + 1;
        Self::with_zeta(low, items, zeta(0, items, ZIPFIAN_CONSTANT, 0.0))
    }

    /// `items` numbers from `base`, with ζ(items, θ) known.
    #[must_use]
    pub fn with_zeta(base: u64, items: u64, zeta_items: f64) -> Self {
        let theta = ZIPFIAN_CONSTANT;
        let zeta_two = zeta(0, 2, theta, 0.0);
        let mut zipfian = Self { base, items, theta, zeta_two, zeta: zeta_items, eta: 0.0 };
        zipfian.eta = zipfian.eta();
        zipfian
    }

    /// Makes it one of more items; ζ grows by the new ones only.
    pub fn grow(&mut self, items: u64) {
        if items > self.items {
            self.zeta = zeta(self.items, items, self.theta, self.zeta);
            self.items = items;
            self.eta = self.eta();
        }
    }

    /// The next number.
    pub fn next(&self, random: &mut Random) -> u64 {
        let u: f64 = random.random();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return self.base;
        }
        if uz < 1.0 + 0.5_f64.powf(self.theta) {
            return self.base + 1.min(self.items - 1);
        }
        let rank = self.items as f64 * (self.eta * u - self.eta + 1.0).powf(1.0 / (1.0 - self.theta));
        // Rounding may reach the count itself when u is next to 1.
        self.base + (rank as u64).min(self.items - 1)
    }

    fn eta(&self) -> f64 {
        if self.items <= 2 {
            return 0.0; // The two exact cases cover everything.
        }
        (1.0 - (2.0 / self.items as f64).powf(1.0 - self.theta)) / (1.0 - self.zeta_two / self.zeta)
    }
}

/// Σ 1/i^θ for i in 1..=to, given the sum up to `from`.
fn zeta(from: u64, to: u64, theta: f64, initial: f64) -> f64 {
    (from..to).fold(initial, |sum, index| sum + ((index + 1) as f64).powf(theta).recip())
}

/// Zipfian popularity, scattered over all items by a hash.
#[derive(Debug, Clone)]
pub struct ScrambledZipfian {
    ranks: Zipfian,
    low: u64,
    items: u64,
}

impl ScrambledZipfian {
    /// From `low` to `high` inclusive. Ranks are drawn from 10¹⁰ + 1 items whatever the range, as YCSB does, so that
    /// popularity does not move when the range grows.
    #[must_use]
    pub fn new(low: u64, high: u64) -> Self {
        const RANKS: u64 = 10_000_000_000;
        const ZETA: f64 = 26.469_028_201_783_02;
        let items = high.saturating_sub(low) + 1;
        Self { ranks: Zipfian::with_zeta(0, RANKS + 1, ZETA), low, items }
    }

    /// The next number.
    pub fn next(&self, random: &mut Random) -> u64 {
        self.low + fnv_hash(self.ranks.next(random)) % self.items
    }
}
