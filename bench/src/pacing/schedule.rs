//! Due times.

use std::time::{Duration, Instant};

/// One client's due times: evenly spaced.
#[derive(Debug, Clone)]
pub struct Schedule {
    start: Instant,
    tick_s: f64,
    next: u64,
}

impl Schedule {
    /// The `client`th of `clients` that together send `rate` operations in a second; the clients' times interleave, so that
    /// the whole is evenly spaced too.
    #[must_use]
    pub fn new(start: Instant, rate: f64, client: usize, clients: usize) -> Self {
        let offset = Duration::from_secs_f64(client as f64 / rate);
        Self { start: start + offset, tick_s: clients as f64 / rate, next: 0 }
    }

    /// The next due time.
    pub fn next_due(&mut self) -> Instant {
        // Multiplied anew each time: a sum would drift.
        let due = self.start + Duration::from_secs_f64(self.tick_s * self.next as f64);
        self.next += 1;
        due
    }

    /// Due times that are left before `end`.
    #[must_use]
    pub fn left_before(&self, end: Instant) -> u64 {
        let span_s = end.saturating_duration_since(self.start).as_secs_f64();
        ((span_s / self.tick_s).ceil() as u64).saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_together_keep_the_rate_and_interleave() {
        let start = Instant::now();
        let mut due: Vec<Instant> = Vec::new();
        for client in 0..4 {
            let mut schedule = Schedule::new(start, 1_000.0, client, 4);
            due.extend((0..250).map(|_| schedule.next_due()));
            assert_eq!(schedule.left_before(start + Duration::from_secs(1)), 0);
            assert_eq!(schedule.left_before(start + Duration::from_secs(2)), 250);
        }
        due.sort_unstable();
        for (index, due) in due.iter().enumerate() {
            let expected = Duration::from_millis(index as u64);
            assert!(due.duration_since(start).abs_diff(expected) < Duration::from_micros(1), "{index}");
        }
    }
}
