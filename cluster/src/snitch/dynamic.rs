//! Replicas that have been slow are asked later.
//!
//! Each replica has a reservoir of 100 latencies, drawn so that recent ones are likelier to be in it (Cormode et al.,
//! "Forward Decay", ICDE 2009: a sample of age t has weight e^(-αt), with Cassandra's α of 0.75 per second). Its score
//! is its median over the largest median of all. Medians below a millisecond count as one, so that the noise of a fast
//! network says nothing (Cassandra's floor holds for the largest only, where it changes no comparison). The order of the snitch below stands unless some replica scores worse than the one that is as near in
//! the order of scores by more than the badness threshold: then the scores alone decide. All is forgotten now and then,
//! so that a replica that nobody asks any more gets its chance.
//!
//! Whoever was late comes last for a second, until it answers: a median takes as long to tell of one that has fallen silent
//! as it took to collect, and each read that waits for it must pay for another request.
//!
//! Rejected: sorting by score always, which sends each node's reads wherever noise points, and makes caches on all
//! replicas hold the same (badness threshold 0 does it). Severity told by gossip (Cassandra's), which compactions dominate.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::Rng;

use crate::node_id::HostId;

/// Latencies that are kept per replica.
const RESERVOIR: usize = 100;
/// Decay per second.
const ALPHA: f64 = 0.75;
/// Least median.
const FLOOR_SECONDS: f64 = 0.001;
/// How long one comes last who was late and has not answered since.
const LATE_FOR: Duration = Duration::from_secs(1);

/// How the dynamic snitch behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// By how much a replica must score worse, as a share, before scores decide; 0: they always do.
    pub badness_threshold: f64,
    /// Time between two computations of the scores.
    pub update_interval: Duration,
    /// Time after which all latencies are forgotten.
    pub reset_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            badness_threshold: 1.0,
            update_interval: Duration::from_millis(100),
            reset_interval: Duration::from_secs(600),
        }
    }
}

/// The latencies of all replicas.
#[derive(Debug, Clone)]
pub struct DynamicSnitch {
    settings: Settings,
    reservoirs: BTreeMap<HostId, Reservoir>,
    /// Who was late and has not answered since, and when that was.
    late: BTreeMap<HostId, Instant>,
    scores: BTreeMap<HostId, f64>,
    scored_at: Option<Instant>,
    reset_at: Instant,
}

impl DynamicSnitch {
    /// Knows nothing yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            reservoirs: BTreeMap::new(),
            late: BTreeMap::new(),
            scores: BTreeMap::new(),
            scored_at: None,
            reset_at: now,
        }
    }

    /// A replica took that long to answer.
    pub fn answered(&mut self, host_id: HostId, latency: Duration, now: Instant, random: &mut impl Rng) {
        self.late.remove(&host_id);
        self.record(host_id, latency, now, random);
    }

    /// A replica had not answered after that long, which is too long.
    pub fn late(&mut self, host_id: HostId, latency: Duration, now: Instant, random: &mut impl Rng) {
        self.record(host_id, latency, now, random);
        self.late.insert(host_id, now);
    }

    /// A replica took that long to answer, or longer.
    pub fn record(&mut self, host_id: HostId, latency: Duration, now: Instant, random: &mut impl Rng) {
        self.reset_if_due(now);
        let age = now.saturating_duration_since(self.reset_at);
        self.reservoirs.entry(host_id).or_default().add(latency.as_secs_f64(), age.as_secs_f64(), random);
    }

    /// The order in which to ask replicas, given that of the snitch below.
    pub fn order(&mut self, nearest_first: Vec<HostId>, now: Instant) -> Vec<HostId> {
        self.reset_if_due(now);
        self.score_if_due(now);
        // Who was never asked scores best: it is how one gets to know it.
        let score = |host_id: &HostId| self.scores.get(host_id).copied().unwrap_or(0.0);
        let mut by_score = nearest_first.clone();
        by_score.sort_by(|a, b| score(a).total_cmp(&score(b)));
        let tolerance = 1.0 + self.settings.badness_threshold;
        let is_bad =
            nearest_first.iter().zip(&by_score).any(|(near, best)| score(near) > tolerance * score(best));
        let mut order =
            if self.settings.badness_threshold == 0.0 || is_bad { by_score } else { nearest_first };
        self.late.retain(|_, since| now.saturating_duration_since(*since) < LATE_FOR);
        order.sort_by_key(|host_id| self.late.contains_key(host_id));
        order
    }

    /// The scores of the moment, from 0 to 1; the higher the slower.
    pub fn scores(&self) -> &BTreeMap<HostId, f64> {
        &self.scores
    }

    fn reset_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.reset_at) >= self.settings.reset_interval {
            *self = Self::new(self.settings.clone(), now);
        }
    }

    fn score_if_due(&mut self, now: Instant) {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < self.settings.update_interval;
        if self.scored_at.is_some_and(is_fresh) {
            return;
        }
        self.scored_at = Some(now);
        let medians: BTreeMap<HostId, f64> = self
            .reservoirs
            .iter()
            .map(|(host_id, reservoir)| (*host_id, reservoir.median().max(FLOOR_SECONDS)))
            .collect();
        let worst = medians.values().copied().fold(FLOOR_SECONDS, f64::max);
        self.scores = medians.into_iter().map(|(host_id, median)| (host_id, median / worst)).collect();
    }
}

/// Samples with their priorities, as logarithms: those of weights that grow with e^t would overflow.
#[derive(Debug, Clone, Default)]
struct Reservoir {
    samples: Vec<(f64, f64)>,
}

impl Reservoir {
    /// Adds a latency `at` seconds after the reset.
    fn add(&mut self, latency: f64, at: f64, random: &mut impl Rng) {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a fraction has")]
        let fraction = 1.0 - (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let sample = (ALPHA * at - fraction.ln(), latency);
        if self.samples.len() < RESERVOIR {
            self.samples.push(sample);
            return;
        }
        let least = self.samples.iter_mut().min_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some(least) = least.filter(|(priority, _)| *priority < sample.0) {
            *least = sample;
        }
    }

    /// The median; the lower one of two.
    fn median(&self) -> f64 {
        let mut latencies: Vec<f64> = self.samples.iter().map(|(_, latency)| *latency).collect();
        latencies.sort_by(f64::total_cmp);
        latencies.get(latencies.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
    }
}
