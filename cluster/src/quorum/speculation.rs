//! When a read asks one replica more than it needs, and how often it may.
//!
//! A replica that is slow, or gone and nobody knows yet, would otherwise make every read wait that needs it (Dean and
//! Barroso, "The Tail at Scale", CACM 2013: hedged requests, sent after the 95th percentile of the expected latency, a few
//! percent of load). When all replicas are slow, more requests make them slower; so extra ones are paid for out of a
//! budget that only reads fill.

use std::time::{Duration, Instant};

/// Extra requests that reads may make: one for each ten reads, and as many as a bucket holds that was full at first.
#[derive(Debug, Clone)]
pub struct Budget {
    tenths: u32,
}

/// Extra requests that can be saved up.
const MOST_SAVED: u32 = 100;

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: MOST_SAVED * 10 }
    }
}

impl Budget {
    /// A read is made.
    pub fn deposit(&mut self) {
        self.tenths = (self.tenths + 1).min(MOST_SAVED * 10);
    }

    /// Pays for an extra request, if there is enough.
    #[must_use]
    pub fn withdraw(&mut self) -> bool {
        match self.tenths.checked_sub(10) {
            Some(left) => {
                self.tenths = left;
                true
            }
            None => false,
        }
    }
}

/// How long the reads of a table took lately.
///
/// A histogram whose buckets are an eighth wide at most, and halved every five seconds as long as enough are left: where reads
/// are frequent, half of what it says is younger than that; else it tells of the last few, however long ago.
#[derive(Debug, Clone)]
pub struct RecentLatencies {
    buckets: [u32; BUCKETS],
    total: u32,
    halved_at: Instant,
}

/// Buckets per power of two.
const PER_OCTAVE: u32 = 8;
/// From a microsecond to a bit more than an hour.
const BUCKETS: usize = OCTAVES * PER_OCTAVE as usize;
const OCTAVES: usize = 33;
const LONGEST: u64 = (1 << OCTAVES) - 1;
/// Time after which all that was seen counts half.
const HALF_LIFE: Duration = Duration::from_secs(5);
/// A percentile of fewer says nothing.
const FEWEST: u32 = 50;

impl RecentLatencies {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { buckets: [0; BUCKETS], total: 0, halved_at: now }
    }

    /// A read took that long.
    pub fn record(&mut self, latency: Duration, now: Instant) {
        self.fade(now);
        let count = &mut self.buckets[bucket_of(latency)];
        *count = count.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    /// What this many of a thousand reads did not exceed by more than an eighth; `None` if there were too few.
    pub fn percentile(&mut self, permille: u16, now: Instant) -> Option<Duration> {
        self.fade(now);
        if self.total < FEWEST {
            return None;
        }
        let rank = (u64::from(self.total) * u64::from(permille)).div_ceil(1000);
        let mut seen = 0;
        let is_it = |count: &u32| {
            seen += u64::from(*count);
            seen >= rank
        };
        self.buckets.iter().position(is_it).map(end_of)
    }

    fn fade(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.halved_at);
        if age < HALF_LIFE {
            return;
        }
        for _ in 0..(age.as_millis() / HALF_LIFE.as_millis()).min(31) {
            let halved = self.buckets.map(|count| count / 2);
            let total = halved.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
            if total < FEWEST {
                break;
            }
            (self.buckets, self.total) = (halved, total);
        }
        self.halved_at = now;
    }
}

fn bucket_of(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST);
    let octave = micros.ilog2();
    let step = ((micros - (1 << octave)) * u64::from(PER_OCTAVE)) >> octave;
    (octave * PER_OCTAVE) as usize + step as usize
}

/// The latency at which a bucket ends.
fn end_of(bucket: usize) -> Duration {
    let (octave, step) = (bucket as u64 / u64::from(PER_OCTAVE), bucket as u64 % u64::from(PER_OCTAVE));
    Duration::from_micros((1 << octave) + (((step + 1) << octave) / u64::from(PER_OCTAVE)))
}
