//! Pauses between attempts to connect.
//!
//! Exponential with equal jitter: half of the pause is certain, half is drawn, so that nodes which lost the same
//! peer at the same moment do not come back at the same moment (Brooker, "Exponential Backoff And Jitter", 2015).
//! During a pause calls fail at once with the error of the last attempt.

use std::time::Duration;

use helenus_cluster::node::transport::CallError;
use tokio::time::Instant;

/// The pauses towards one peer.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    random: u64,
    next_pause: Duration,
    paused: Option<(Instant, CallError)>,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, random: seed, next_pause: min, paused: None }
    }

    /// Why calls fail at `now`, if they do.
    pub(super) fn verdict(&self, now: Instant) -> Option<CallError> {
        self.paused.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    /// Why the last attempt failed, if none has succeeded since.
    pub(super) fn last_failure(&self) -> Option<&CallError> {
        self.paused.as_ref().map(|(_, error)| error)
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, now: Instant, error: CallError) {
        let half = self.next_pause / 2;
        let jitter = half.mul_f64(self.draw());
        self.paused = Some((now + half + jitter, error));
        self.next_pause = (self.next_pause * 2).min(self.max);
    }

    /// An attempt has succeeded.
    pub(super) fn succeeded(&mut self) {
        self.next_pause = self.min;
        self.paused = None;
    }

    /// Uniform in 0..1: one step of SplitMix64 (Steele, Lea and Flood, 2014, section 5).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_again_after_a_success() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(80));
        let error = CallError::Unreachable { address: "n2:7171".to_owned(), reason: "refused".to_owned() };
        let mut backoff = Backoff::new(min, max, 7);
        let now = Instant::now();

        for pause in [10, 20, 40, 80, 80].map(Duration::from_millis) {
            backoff.failed(now, error.clone());

            let just_before_half = now + pause / 2 - Duration::from_nanos(1);
            assert_eq!(backoff.verdict(just_before_half), Some(error.clone()), "at least half of {pause:?}");
            assert_eq!(backoff.verdict(now + pause), None, "at most {pause:?}");
        }

        backoff.succeeded();
        assert_eq!(backoff.verdict(now), None);
        backoff.failed(now, error);
        assert_eq!(backoff.verdict(now + min), None);
    }
}
