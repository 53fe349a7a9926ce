//! How many requests may be under way, by how busy the threads are that serve them.

/// At this share of their time threads are too busy, and below this one they have plenty.
const BUSY: f64 = 0.9;
const EASY: f64 = 0.5;

/// Sets the bound from interval to interval.
#[derive(Debug)]
pub(super) struct Bound {
    when_busy: usize,
    now: usize,
}

impl Bound {
    /// There is none until the threads are too busy; `when_busy` from then on.
    pub(super) fn new(when_busy: usize) -> Self {
        Self { when_busy, now: usize::MAX }
    }

    /// The threads have worked for this share of an interval, and requests `are_waiting` in line or not. The bound from now
    /// on: where there is one, and time is left while requests wait, those under way wait for something else than the
    /// processors, and more may begin.
    pub(super) fn on_interval(&mut self, share: f64, are_waiting: bool) -> usize {
        if share >= BUSY {
            self.now = self.when_busy;
        } else if share < EASY || share.is_nan() {
            self.now = usize::MAX;
        } else if are_waiting {
            self.now = self.now.saturating_add(self.when_busy.div_ceil(4));
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: usize = usize::MAX;

    #[test]
    fn the_bound_follows_what_the_processors_have_left() {
        let mut bound = Bound::new(100);
        for (share, are_waiting, expected) in [
            (0.0, false, NONE),
            (0.89, true, NONE),
            (0.95, false, 100),
            // Fewer are begun: that must not be the reason to begin all.
            (0.6, false, 100),
            (1.0, true, 100),
            (0.6, true, 125),
            (0.51, true, 150),
            (0.51, false, 150),
            (0.9, true, 100),
            (0.49, true, NONE),
            (0.6, true, NONE),
            (0.9, false, 100),
            (f64::NAN, true, NONE),
        ] {
            assert_eq!(bound.on_interval(share, are_waiting), expected, "{share}");
        }
    }
}
