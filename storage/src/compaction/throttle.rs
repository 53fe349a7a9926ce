//! How fast merges may write.

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

/// A rate that all merges of an engine share.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// What all of them together may write while there is no pressure; 0 for no limit.
    pub(crate) bytes_per_second: AtomicU64,
    /// When what was granted so far is used up.
    paid_until: Mutex<Option<Instant>>,
}

impl Throttle {
    /// How long to wait after writing so many bytes.
    pub(crate) fn wait_after(&self, bytes: u64, bytes_per_second: f64, now: Instant) -> Duration {
        let cost = Duration::try_from_secs_f64(bytes as f64 / bytes_per_second).unwrap_or(BURST);
        let mut paid_until = self.paid_until.lock();
        let from = paid_until.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
        let until = from + cost;
        *paid_until = Some(until);
        until.saturating_duration_since(now)
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
    fn whoever_writes_faster_waits_and_an_idle_time_is_not_saved_up() {
        let throttle = Throttle::default();
        let begin = Instant::now();
        assert_eq!(throttle.wait_after(50, 100.0, begin), Duration::from_millis(500));
        assert_eq!(throttle.wait_after(50, 100.0, begin), Duration::from_secs(1));
        let later = begin + Duration::from_secs(100);
        assert_eq!(throttle.wait_after(50, 100.0, later), Duration::from_millis(400));
        assert_eq!(throttle.wait_after(0, 100.0, later), Duration::from_millis(400));
    }
}
