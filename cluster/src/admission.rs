//! How many requests of clients a node coordinates at once.
//!
//! The bound of the settings is for requests that wait for others: for the disk, for another datacenter. A processor that
//! has no more time is another matter. What is admitted beyond that only waits, each step of a request behind the steps
//! of all others, until clients give up, and then all that is done is done in vain. So a second bound follows the wait
//! itself. While many requests are under way, a task does nothing but to be ready again and again, and sees how long
//! whoever is ready waits for a turn:
//!
//! ```text
//!   least wait of an interval above the target    there is always a queue: to 3/4 of what is under way
//!   otherwise                                     1/16 more, up to the bound of the settings
//! ```
//!
//! The *least* wait of an interval tells a queue that stays from a burst that passes (Nichols, Jacobson: "Controlling Queue
//! Delay", ACM Queue 10(5), 2012). Going down by a factor and up by little finds the point from both sides, and gives each
//! of several nodes on one machine its share (Chiu, Jain: "Analysis of the Increase and Decrease Algorithms for Congestion
//! Avoidance in Computer Networks", 1989). Never below [`FEWEST`], which wait for nobody but themselves. Rejected: the
//! latency of whole requests as the measure (a slow disk or a far datacenter is no reason to do less), a lower bound in the
//! settings (right for one machine and one network only).

use std::time::Duration;

/// So many are always let in, unless the settings say fewer.
pub const FEWEST: usize = 64;
/// A turn may take so long. A request takes some ten turns, those of its replicas included.
pub const TARGET_WAIT: Duration = Duration::from_millis(5);

/// The bound that follows the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    most: usize,
    now: usize,
}

impl Bound {
    /// As high as it may be.
    pub fn new(most: usize) -> Self {
        Self { most, now: most }
    }

    /// An interval is over, in which whoever was ready waited for at least so long, and at the end of which so many were
    /// under way.
    pub fn on_interval(&mut self, least_wait: Duration, under_way: usize) {
        self.now = if least_wait > TARGET_WAIT {
            (self.now.min(under_way) / 4 * 3).max(FEWEST)
        } else {
            self.now + self.now / 16 + 1
        };
        self.now = self.now.min(self.most);
    }

    /// How many may be under way.
    pub fn now(&self) -> usize {
        self.now
    }

    /// Whether it is as high as it may be.
    pub fn is_highest(&self) -> bool {
        self.now == self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(50);

    #[test]
    fn it_falls_below_what_is_under_way_while_there_is_always_a_queue_and_comes_back() {
        let mut bound = Bound::new(4096);
        bound.on_interval(SLOW, 1000);
        assert_eq!(bound.now(), 750, "whatever else the settings allow");
        bound.on_interval(SLOW, 750);
        assert_eq!(bound.now(), 561);
        for _ in 0..20 {
            bound.on_interval(SLOW, bound.now());
        }
        assert_eq!(bound.now(), FEWEST);

        let intervals = (1..).find(|_| {
            bound.on_interval(QUICK, 10);
            bound.is_highest()
        });
        assert!(intervals.is_some_and(|intervals| intervals < 80), "eight seconds of tenths: {intervals:?}");
        assert_eq!(bound.now(), 4096);
    }

    #[test]
    fn it_finds_what_the_processor_has_time_for_and_stays_near() {
        // Beyond 300 at once they wait for each other.
        let mut bound = Bound::new(4096);
        let mut last = Vec::new();
        for interval in 0..200 {
            let wait = if bound.now() > 300 { SLOW } else { QUICK };
            bound.on_interval(wait, bound.now());
            if interval >= 100 {
                last.push(bound.now());
            }
        }
        assert!(last.iter().all(|now| (200..=330).contains(now)), "{last:?}");
    }

    #[test]
    fn few_are_let_in_whatever_the_wait_and_never_more_than_set() {
        for most in [1, 10, FEWEST, 100] {
            let mut bound = Bound::new(most);
            for wait in [SLOW, SLOW, SLOW, QUICK, QUICK] {
                bound.on_interval(wait, 5);
                assert!((FEWEST.min(most)..=most).contains(&bound.now()), "{most}: {bound:?}");
            }
        }
    }
}
