//! Who goes on, who waits and who is refused.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The requests that have begun, and those that wait for that. There are no more than connections.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Nobody joins the line when its first has waited longer.
    long_wait: Duration,
    bound: usize,
    under_way: usize,
    waiting: VecDeque<(Instant, T)>,
}

/// What is to become of a request that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is under way.
    Enters,
    /// It is to [join](Line::join).
    Waits,
    /// There is no time for it.
    Refused,
}

impl<T> Line<T> {
    /// Nobody waits until there is a bound, and nobody joins a line then whose first has waited longer than `long_wait`.
    pub(super) fn new(long_wait: Duration) -> Self {
        Self { long_wait, bound: usize::MAX, under_way: 0, waiting: VecDeque::new() }
    }

    pub(super) fn arrive(&mut self, now: Instant) -> Arrival {
        match self.waiting.front() {
            None if self.under_way < self.bound => {
                self.under_way += 1;
                Arrival::Enters
            }
            Some((since, _)) if now.saturating_duration_since(*since) > self.long_wait => Arrival::Refused,
            _ => Arrival::Waits,
        }
    }

    pub(super) fn join(&mut self, now: Instant, request: T) {
        self.waiting.push_back((now, request));
    }

    /// One that was under way has ended.
    pub(super) fn leave(&mut self) {
        self.under_way -= 1;
    }

    /// Whether there is somebody in it.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// So many may be under way from now on.
    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// The first in line for whom somebody still waits, if there is room: it is under way.
    pub(super) fn next(&mut self, is_given_up: impl Fn(&T) -> bool) -> Option<T> {
        while self.under_way < self.bound {
            let (_, first) = self.waiting.pop_front()?;
            if !is_given_up(&first) {
                self.under_way += 1;
                return Some(first);
            }
        }
        None
    }

    /// Takes out who has waited twice as long as a line may be: it has stopped moving.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<T> {
        let most = self.long_wait * 2;
        let is_overdue = |(since, _): &(Instant, T)| now.saturating_duration_since(*since) > most;
        let overdue = self.waiting.iter().take_while(|waiting| is_overdue(waiting)).count();
        self.waiting.drain(..overdue).map(|(_, request)| request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests are numbers; none is given up but 13.
    fn next(line: &mut Line<u32>) -> Option<u32> {
        line.next(|request| *request == 13)
    }

    fn line() -> Line<u32> {
        Line::new(Duration::from_millis(200))
    }

    fn at(begun: Instant, millis: u64) -> Instant {
        begun + Duration::from_millis(millis)
    }

    #[test]
    fn without_a_bound_everybody_goes_on() {
        let (mut line, begun) = (line(), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(line.arrive(begun), Arrival::Enters);
        }
    }

    #[test]
    fn the_first_come_goes_first_when_another_has_ended() {
        let (mut line, begun) = (line(), Instant::now());
        line.set_bound(2);
        assert_eq!([line.arrive(begun), line.arrive(begun)], [Arrival::Enters; 2]);
        for request in [11, 12, 13, 14] {
            assert_eq!(line.arrive(begun), Arrival::Waits);
            line.join(begun, request);
        }
        assert_eq!(next(&mut line), None);

        line.leave();
        assert_eq!((next(&mut line), next(&mut line)), (Some(11), None));
        assert_eq!(line.arrive(begun), Arrival::Waits, "whoever comes does not go before those who wait");
        line.leave();
        line.leave();
        assert_eq!((next(&mut line), next(&mut line)), (Some(12), Some(14)), "the client of 13 has hung up");

        line.leave();
        assert_eq!(line.arrive(begun), Arrival::Enters);
    }

    #[test]
    fn whoever_would_wait_long_is_refused_at_once() {
        let (mut line, begun) = (line(), Instant::now());
        line.set_bound(1);
        line.arrive(begun);
        line.join(begun, 11);
        for (millis, arrival) in [(0, Arrival::Waits), (200, Arrival::Waits), (201, Arrival::Refused)] {
            assert_eq!(line.arrive(at(begun, millis)), arrival, "{millis}");
        }
        line.join(at(begun, 150), 12);

        line.leave();
        assert_eq!(next(&mut line), Some(11));
        assert_eq!(line.arrive(at(begun, 201)), Arrival::Waits, "the first has waited 51 ms");
    }

    #[test]
    fn nobody_waits_for_ever_in_a_line_that_does_not_move() {
        let (mut line, begun) = (line(), Instant::now());
        line.set_bound(1);
        line.arrive(begun);
        line.join(begun, 11);
        line.join(at(begun, 100), 12);

        assert_eq!(line.take_overdue(at(begun, 400)), [0; 0]);
        assert_eq!(line.take_overdue(at(begun, 401)), [11]);
        assert_eq!(line.take_overdue(at(begun, 501)), [12]);
    }

    #[test]
    fn a_bound_below_what_is_under_way_lets_nobody_in_until_enough_have_ended() {
        let (mut line, begun) = (line(), Instant::now());
        for _ in 0..3 {
            line.arrive(begun);
        }
        line.set_bound(1);
        line.join(begun, 11);
        line.leave();
        line.leave();
        assert_eq!(next(&mut line), None);
        line.leave();
        assert_eq!(next(&mut line), Some(11));

        line.join(begun, 12);
        line.set_bound(usize::MAX);
        assert_eq!(next(&mut line), Some(12), "it is lifted");
    }
}
