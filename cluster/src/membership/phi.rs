//! How unlikely a silence is: φ, which accrues while a peer says nothing.
//!
//! Hayashibara, Défago, Yared, Katayama: "The φ Accrual Failure Detector" (SRDS 2004), §4.2: the intervals between the
//! heartbeats that were heard are taken for normally distributed, and φ is the decimal exponent of how unlikely it is
//! that the next one comes later than now:
//!
//! ```text
//!   φ(t) = -log10( P(interval > t - last) )          φ = 1: one chance in ten to be wrong; φ = 8: one in 10^8
//! ```
//!
//! What differs from the paper: the deviation has a floor, since heartbeats that come like clockwork would make a
//! late one of the next second a death; intervals beyond a cap are not recorded, so that an hour of partition teaches
//! no patience; and time that this node slept counts as nobody's silence ([`super::probe`]).
//!
//! Apache Cassandra takes the intervals for exponentially distributed, so that the mean alone decides: its
//! φ = (t - last) / mean, convicted where φ / ln 10 exceeds 8, that is after 18.4 intervals whatever their deviation
//! is: 18.4 s at its defaults. With the normal distribution and the floor, a peer heard of each second is suspected
//! after 3.8 s of silence, and one that is heard of with a deviation of a second after 6.6 s.

use std::{
    collections::VecDeque,
    f64::consts::{LN_10, PI},
    time::{Duration, Instant},
};

/// What a window of heartbeats is measured by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Time between two heartbeats of a peer.
    pub interval: Duration,
    /// Intervals that are remembered.
    pub window: usize,
}

impl Expectation {
    /// The paper's window (§5.1) for heartbeats that are sent so often.
    pub fn every(interval: Duration) -> Self {
        Self { interval, window: 1000 }
    }

    /// The least deviation, half of an interval: gossip brings a heartbeat now or with the next round.
    fn least_deviation(&self) -> f64 {
        self.interval.as_secs_f64() / 2.0
    }

    /// The longest interval that is recorded.
    fn cap(&self) -> Duration {
        self.interval * 3
    }
}

/// When the last heartbeat of a peer was heard, and how long it took between the ones before.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    expected: Expectation,
    last: Instant,
    intervals_us: VecDeque<u64>,
    sum_us: u64,
    sum_of_squares: u128,
}

impl Arrivals {
    /// A peer that is expected to be heard of from now on. Two intervals stand for what is not known yet, as in
    /// Cassandra.
    pub fn new(expected: Expectation, now: Instant) -> Self {
        let mut arrivals =
            Self { expected, last: now, intervals_us: VecDeque::new(), sum_us: 0, sum_of_squares: 0 };
        arrivals.record(expected.interval * 2);
        arrivals
    }

    /// A heartbeat was heard.
    pub fn on_heartbeat(&mut self, now: Instant) {
        let interval = now.saturating_duration_since(self.last);
        if interval <= self.expected.cap() {
            self.record(interval);
        }
        self.last = self.last.max(now);
    }

    /// Time has passed that does not count.
    pub fn forgive(&mut self, time: Duration) {
        self.last += time;
    }

    /// How long the peer has been silent.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// φ now.
    pub fn phi(&self, now: Instant) -> f64 {
        let deviation = self.deviation().max(self.expected.least_deviation());
        let late = (self.silence(now).as_secs_f64() - self.mean()) / deviation;
        -ln_of_upper_tail(late) / LN_10
    }

    /// The mean interval, in seconds.
    pub fn mean(&self) -> f64 {
        self.sum_us as f64 / self.intervals_us.len() as f64 / MICROS
    }

    /// The standard deviation, in seconds, without the floor.
    pub fn deviation(&self) -> f64 {
        // In integers: a sum of floats that runs for years drifts.
        let count = self.intervals_us.len() as u128;
        let variance = (count * self.sum_of_squares - u128::from(self.sum_us).pow(2)) as f64;
        variance.sqrt() / count as f64 / MICROS
    }

    fn record(&mut self, interval: Duration) {
        // The cap bounds it far below.
        let interval = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX >> 16);
        if self.intervals_us.len() >= self.expected.window.max(1)
            && let Some(oldest) = self.intervals_us.pop_front()
        {
            self.sum_us -= oldest;
            self.sum_of_squares -= u128::from(oldest).pow(2);
        }
        self.intervals_us.push_back(interval);
        self.sum_us += interval;
        self.sum_of_squares += u128::from(interval).pow(2);
    }
}

const MICROS: f64 = 1e6;

/// The natural logarithm of the probability that a standard normal variable exceeds `z`; exact in the far tail, where
/// the probability itself is no number any more.
///
/// Abramowitz, Stegun: "Handbook of Mathematical Functions" (1964), 26.2.11 (series, near the middle) and 26.2.14
/// (continued fraction, in the tails).
pub fn ln_of_upper_tail(z: f64) -> f64 {
    const SWITCH: f64 = 2.0;
    if z < -SWITCH {
        return (-ln_of_upper_tail(-z).exp()).ln_1p();
    }
    let ln_density = -z * z / 2.0 - (2.0 * PI).ln() / 2.0;
    if z > SWITCH {
        let fraction = (1..=100).rev().fold(z, |below, number| z + f64::from(number) / below);
        return ln_density - fraction.ln();
    }
    let (mut term, mut sum) = (z, z);
    for odd in (3..100).step_by(2) {
        term *= z * z / f64::from(odd);
        sum += term;
    }
    (0.5 - ln_density.exp() * sum).ln()
}
