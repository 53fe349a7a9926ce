//! What a run needs to know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{Endpoint, Protocol, Routes},
    workload::{Phase, Workload},
};

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Loading or running.
    pub phase: Phase,
    /// What is asked.
    pub workload: Arc<Workload>,
    /// In which language.
    pub protocol: Arc<Protocol>,
    /// Of whom; not empty.
    pub endpoints: Arc<[Endpoint]>,
    /// Where keys are; without, each client keeps to one endpoint.
    pub routes: Option<Arc<Routes>>,
    /// By how many at once, above 0.
    pub clients: usize,
    /// On how many threads, above 0.
    pub threads: usize,
    /// Operations in a second, of all clients, above 0; none is a closed loop.
    pub target: Option<f64>,
    /// Operations at most, warm-up excepted.
    pub operations: Option<u64>,
    /// For how long at most, after the warm-up.
    pub duration: Option<Duration>,
    /// What is left out at first.
    pub warmup: Duration,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// Of the random streams.
    pub seed: u64,
    /// Once set, nothing more is sent.
    pub interrupt: Arc<AtomicBool>,
}

/// What clients share while a plan is carried out.
#[derive(Debug)]
pub(super) struct Shared {
    /// Nothing is sent before.
    pub(super) start: Instant,
    pub(super) measured_from: Instant,
    /// Nothing is sent from then on.
    pub(super) end: Option<Instant>,
    left: AtomicU64,
    interrupt: Arc<AtomicBool>,
    stopped: AtomicBool,
    pub(super) late: AtomicU64,
    pub(super) held_up: AtomicU64,
    pub(super) unsent: AtomicU64,
}

impl Shared {
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let measured_from = start + plan.warmup;
        Self {
            start,
            measured_from,
            end: plan.duration.map(|duration| measured_from + duration),
            left: AtomicU64::new(plan.operations.unwrap_or(u64::MAX)),
            interrupt: Arc::clone(&plan.interrupt),
            stopped: AtomicBool::new(false),
            late: AtomicU64::new(0),
            held_up: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
        }
    }

    /// Takes one of the operations that are left.
    pub(super) fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Ends the run for all clients.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.interrupt.load(Ordering::Relaxed)
    }
}
