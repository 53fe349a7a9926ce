//! How fast merges may read.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Pressure from which on the limit rises, and that from which on there is none.
const RISE: (f64, f64) = (0.25, 0.75);
/// How many times the limit is reached before it falls away.
const HIGHEST: f64 = 8.0;
/// What was not used lately is not saved up for longer than this.
const BURST: Duration = Duration::from_millis(100);

/// A rate that all merges of an engine share: a token bucket, of which each takes what it has read and waits while it owes
/// something. A wait is computed anew whenever it is asked for, so that it follows the limit.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// What all of them together may read while there is no pressure; 0 for no limit.
    pub(crate) bytes_per_second: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes that may be read at once; below zero what was read too early.
    bytes: f64,
    /// When it was filled up last; `None` while there is no limit.
    filled: Option<Instant>,
}

impl Throttle {
    /// Takes bytes that were read.
    pub(crate) fn take(&self, bytes: u64) {
        self.bucket.lock().bytes -= bytes as f64;
    }

    /// How long to wait before more is read, at a limit in bytes per second. Without one all debt is forgiven.
    pub(crate) fn wait(&self, limit: Option<f64>, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock();
        let Some(limit) = limit else {
            *bucket = Bucket::default();
            return Duration::ZERO;
        };
        let since = bucket.filled.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let full = limit * BURST.as_secs_f64();
        bucket.bytes = (bucket.bytes + limit * since.as_secs_f64()).min(full);
        Duration::try_from_secs_f64((-bucket.bytes).max(0.0) / limit).unwrap_or(Duration::MAX)
    }
}

/// The limit at this pressure (0 none, 1 where writers are stopped); `None` for no limit.
pub(crate) fn limit(bytes_per_second: u64, pressure: f64) -> Option<f64> {
    let (from, to) = RISE;
    if bytes_per_second == 0 || pressure >= to {
        return None;
    }
    let risen = ((pressure - from) / (to - from)).max(0.0);
    Some(bytes_per_second as f64 * (1.0 + risen * (HIGHEST - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_with_the_pressure_and_falls_away_before_writers_stop() {
        assert_eq!(limit(100, 0.0), Some(100.0));
        assert_eq!(limit(100, 0.25), Some(100.0));
        assert_eq!(limit(100, 0.5), Some(450.0));
        assert_eq!(limit(100, 0.75), None);
        assert_eq!(limit(0, 0.0), None);
    }

    #[test]
    fn whoever_reads_faster_waits_and_an_idle_time_is_not_saved_up() {
        let (throttle, limit) = (Throttle::default(), Some(100.0));
        let begin = Instant::now();
        throttle.take(50);
        assert_eq!(throttle.wait(limit, begin), Duration::from_millis(500));
        throttle.take(50);
        assert_eq!(throttle.wait(limit, begin), Duration::from_secs(1));
        assert_eq!(throttle.wait(limit, begin + Duration::from_millis(600)), Duration::from_millis(400));
        let later = begin + Duration::from_secs(100);
        assert_eq!(throttle.wait(limit, later), Duration::ZERO);
        throttle.take(50);
        assert_eq!(throttle.wait(limit, later), Duration::from_millis(400));
    }

    #[test]
    fn a_wait_follows_the_limit_and_without_one_nothing_is_owed() {
        let throttle = Throttle::default();
        let begin = Instant::now();
        throttle.take(1000);
        assert_eq!(throttle.wait(Some(10.0), begin), Duration::from_secs(100));
        assert_eq!(throttle.wait(Some(1000.0), begin), Duration::from_secs(1));
        assert_eq!(throttle.wait(None, begin), Duration::ZERO);
        assert_eq!(throttle.wait(Some(10.0), begin), Duration::ZERO);
    }
}
