//! How fast something went on lately, to tell when it will be done.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What counts as lately.
const WINDOW: Duration = Duration::from_secs(10);
/// Time between two marks.
const BETWEEN_MARKS: Duration = Duration::from_secs(1);

/// Marks of the last seconds: how much was done when. A handful, however long it takes.
#[derive(Debug)]
pub struct RecentPace(VecDeque<(Instant, u64)>);

impl RecentPace {
    /// Nothing is done yet.
    pub fn begun(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0)]))
    }

    /// Notes how much is done now. Less than before: it began anew.
    pub fn note(&mut self, done: u64, now: Instant) {
        let Self(marks) = self;
        if marks.back().is_some_and(|&(_, before)| done < before) {
            marks.clear();
        }
        if marks.back().is_none_or(|&(at, _)| now.saturating_duration_since(at) >= BETWEEN_MARKS) {
            marks.push_back((now, done));
        }
        // The first that is left is where the window begins, or before.
        while marks.get(1).is_some_and(|&(at, _)| now.saturating_duration_since(at) >= WINDOW) {
            marks.pop_front();
        }
    }

    /// What was done in a second lately, when so much is done now; `None` as long as that is nothing.
    pub fn per_second(&self, done: u64, now: Instant) -> Option<f64> {
        let &(at, before) = self.0.front()?;
        let (gained, elapsed) = (done.saturating_sub(before), now.saturating_duration_since(at));
        (gained > 0 && !elapsed.is_zero()).then(|| gained as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn the_last_seconds_count_and_not_what_was_before_them() {
        let begin = Instant::now();
        let mut pace = RecentPace::begun(begin);
        assert_eq!(pace.per_second(0, begin + seconds(1)), None);
        assert_eq!(pace.per_second(500, begin + seconds(1)), Some(500.0));
        (1..=60).for_each(|second| pace.note(1000 * second, begin + seconds(second)));
        assert_eq!(pace.per_second(60_000, begin + seconds(60)), Some(1000.0));
        // Ten times slower from now on.
        (61..=80).for_each(|second| pace.note(60_000 + 100 * (second - 60), begin + seconds(second)));
        assert_eq!(pace.per_second(62_000, begin + seconds(80)), Some(100.0));
        assert!(pace.0.len() <= 12, "{} marks", pace.0.len());
    }

    #[test]
    fn what_begins_anew_has_the_pace_of_its_new_beginning() {
        let begin = Instant::now();
        let mut pace = RecentPace::begun(begin);
        pace.note(9000, begin + seconds(2));
        pace.note(0, begin + seconds(3));
        assert_eq!(pace.per_second(50, begin + seconds(4)), Some(50.0));
    }

    #[test]
    fn marks_that_come_often_are_not_all_kept() {
        let begin = Instant::now();
        let mut pace = RecentPace::begun(begin);
        (0..100_000).for_each(|step| pace.note(step, begin + Duration::from_millis(step)));
        assert!(pace.0.len() <= 12, "{} marks", pace.0.len());
    }
}
