//! Keeps a log line that would come with every request to one a second, or to one in another time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const PAUSE: Duration = Duration::from_secs(1);

/// When a line was last written, and how often it was not since.
#[derive(Debug)]
pub(crate) struct Seldom {
    pause: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Of a line that was never written.
    pub(crate) const fn new() -> Self {
        Self::every(PAUSE)
    }

    /// Of a line that is written once in `pause` at most.
    pub(crate) const fn every(pause: Duration) -> Self {
        Self { pause, state: Mutex::new((None, 0)) }
    }

    /// Whether to write the line now; if so, how many were left out before it.
    pub(crate) fn may_say(&self, now: Instant) -> Option<u64> {
        let (last, left_out) = &mut *self.state.lock();
        if last.is_some_and(|last| now < last + self.pause) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let (seldom, start) = (Seldom::new(), Instant::now());

        assert_eq!(seldom.may_say(start), Some(0));
        assert_eq!(seldom.may_say(start), None);
        assert_eq!(seldom.may_say(start + PAUSE / 2), None);
        assert_eq!(seldom.may_say(start + PAUSE), Some(2));
        assert_eq!(seldom.may_say(start + 2 * PAUSE), Some(0));
    }
}
