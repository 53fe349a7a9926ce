//! A histogram of durations that many threads record into without a lock.
//!
//! Buckets are powers of two of microseconds, each split in two halves (`2^k` and `1.5 × 2^k`), so a quantile read
//! from it is at most half of itself off, from 16 µs to 33 s, with 44 counters.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The first bucket holds what takes at most 2^4 µs.
const FIRST_POWER: u32 = 4;
const POWERS: u32 = 22;
const BUCKETS: usize = 2 * POWERS as usize;

/// Counts of durations. Recording costs two relaxed additions.
#[derive(Debug)]
pub struct Histogram {
    /// The last one is for everything beyond the bounds.
    buckets: [AtomicU64; BUCKETS + 1],
    sum_nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Sum of all durations.
    pub sum_seconds: f64,
    /// How many there were.
    pub count: u64,
    /// Upper bound in seconds and count of each bucket, not cumulated; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos.div_ceil(1000))].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Relaxed))
    }

    /// What was recorded so far. The count is the sum of the buckets, so the two always agree.
    pub fn snapshot(&self) -> Snapshot {
        let buckets: Vec<_> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, count)| {
                (upper_bound_micros(index).map_or(f64::INFINITY, |us| us as f64 / 1e6), count.load(Relaxed))
            })
            .collect();
        Snapshot {
            sum_seconds: self.sum().as_secs_f64(),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

impl Snapshot {
    /// Adds the durations of another one.
    pub fn add(&mut self, other: &Self) {
        self.sum_seconds += other.sum_seconds;
        self.count += other.count;
        self.buckets.iter_mut().zip(&other.buckets).for_each(|((_, sum), (_, count))| *sum += count);
    }

    /// Microseconds that so great a share of the durations does not exceed; the upper bound of a bucket, at most half of
    /// itself too large. `None` if nothing was recorded.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.buckets.iter().position(|(_, count)| {
            seen += count;
            seen >= rank
        });
        // Beyond all bounds is told as the last bound.
        reached.and_then(|index| upper_bound_micros(index.min(BUCKETS - 1)))
    }
}

/// Bounds ascend: 2^4, 1.5 × 2^4, 2^5, 1.5 × 2^5, … microseconds; `None` for the last bucket.
fn upper_bound_micros(index: usize) -> Option<u64> {
    if index >= BUCKETS {
        return None;
    }
    let power = 1 << (FIRST_POWER as usize + index / 2);
    Some(if index.is_multiple_of(2) { power } else { power + power / 2 })
}

/// The first bucket whose bound is at least `micros`.
fn bucket_of(micros: u64) -> usize {
    if micros <= 1 << FIRST_POWER {
        return 0;
    }
    // The highest power of two below `micros`, and on which side of its middle `micros` lies.
    let power = (micros - 1).ilog2();
    let half = 1 << (power - 1);
    let index = 2 * (power - FIRST_POWER) as usize + if micros <= (1 << power) + half { 1 } else { 2 };
    index.min(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_the_first_bucket_that_holds_it() {
        for micros in (0..5000).chain([1 << 24, (1 << 24) + 1, 50_331_648, 50_331_649, u64::MAX]) {
            let index = bucket_of(micros);
            assert!(upper_bound_micros(index).is_none_or(|bound| micros <= bound), "{micros}");
            if index > 0 {
                assert!(upper_bound_micros(index - 1).unwrap() < micros, "{micros}");
            }
        }
    }

    #[test]
    fn count_and_sum_agree_with_what_was_recorded() {
        let histogram = Histogram::default();
        for millis in [0, 1, 1000, 3_600_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count, snapshot.sum_seconds), (4, 3601.001));
        assert_eq!(*snapshot.buckets.last().unwrap(), (f64::INFINITY, 1));
        assert_eq!(
            [0.0, 0.75, 1.0].map(|share| snapshot.quantile_us(share)),
            [Some(16), Some(1 << 20), Some(3 << 24)]
        );
        assert_eq!(Histogram::default().snapshot().quantile_us(0.5), None);
        assert!(snapshot.buckets.is_sorted_by(|a, b| a.0 < b.0));
    }
}
