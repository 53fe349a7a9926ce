//! What happened, as one number: equal seeds must give equal traces, byte for byte. And what was counted, and what was
//! wrong.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// The trace of one simulation. Clones share it.
#[derive(Clone)]
pub struct Trace {
    begun: Instant,
    verbose: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    hash: Xxh3,
    events: u64,
    last_moment: u64,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Trace {
    /// A trace whose time begins now. A verbose one prints each event on standard error.
    pub fn begin(verbose: bool) -> Self {
        let state = State {
            hash: Xxh3::new(),
            events: 0,
            last_moment: 0,
            counts: BTreeMap::new(),
            violations: Vec::new(),
        };
        Self { begun: Instant::now(), verbose, state: Arc::new(Mutex::new(state)) }
    }

    /// Adds an event at a node (0: none) and the numbers that tell it from others of its name.
    pub fn note(&self, node: u32, what: &str, numbers: &[u64]) {
        let at = self.elapsed_us();
        let mut state = self.state.lock();
        state.events += 1;
        state.hash.update(&at.to_le_bytes());
        state.hash.update(&node.to_le_bytes());
        state.hash.update(what.as_bytes());
        for number in numbers {
            state.hash.update(&number.to_le_bytes());
        }
        if self.verbose {
            eprintln!("{:>12}.{:03} n{node} {what} {numbers:?}", at / 1000, at % 1000);
        }
    }

    /// Tells whoever reads a verbose trace why something happened.
    pub(super) fn explain(&self, node: u32, why: &dyn std::fmt::Display) {
        if self.verbose {
            eprintln!("                 n{node} {why}");
        }
    }

    /// Counts one more of something that was done to the cluster.
    pub fn count(&self, what: &'static str) {
        *self.state.lock().counts.entry(what).or_default() += 1;
    }

    /// How often what was done.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().counts.clone()
    }

    /// Notes what must never happen, whatever clients see of it.
    pub fn accuse(&self, what: String) {
        self.note(0, "violation", &[]);
        if self.verbose {
            eprintln!("violation: {what}");
        }
        self.state.lock().violations.push(what);
    }

    /// What must never happen and did.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    /// A hash over all events so far.
    pub fn hash(&self) -> u64 {
        self.state.lock().hash.digest()
    }

    /// Number of events so far.
    pub fn events(&self) -> u64 {
        self.state.lock().events
    }

    /// Virtual microseconds since the beginning.
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A moment for a history: virtual microseconds, later than every moment before it. Everything runs on one thread,
    /// so what happens within one tick of the clock has an order all the same, and this is it.
    pub fn moment_us(&self) -> u64 {
        let now = self.elapsed_us();
        let mut state = self.state.lock();
        state.last_moment = now.max(state.last_moment + 1);
        state.last_moment
    }

    /// When it began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }
}
