//! Campaigns: run seeds, judge what clients saw, reduce what went wrong.
//!
//! ```text
//!   plan ──> run ──> history ──> judge ──> violations ──> reduce ──> the least that goes wrong, and its timeline
//! ```
//!
//! Reading order: `workload`, `client`, `scan`, `plan`, `run`, `judge`, `reduce`, this page. The tests and the example that is run by
//! hand share it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by a test and an example, written as if a crate"
)]

pub mod client;
pub mod judge;
pub mod marks;
pub mod plan;
pub mod reduce;
pub mod run;
pub mod scan;
pub mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use helenus_bench::timeline::{Extent, of_violation};
use parking_lot::Mutex;

pub use plan::{Bounds, Plan};
pub use run::{Run, run};

/// Runs that the reduction of one seed may take.
const REDUCTION_RUNS: usize = 150;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub simulated: Duration,
    pub events: u64,
    pub operations: u64,
    pub counts: BTreeMap<&'static str, u64>,
    /// Seeds that went wrong and who complains.
    pub violations: BTreeMap<u64, BTreeSet<String>>,
}

impl Summary {
    fn add(&mut self, seed: u64, run: &Run) {
        self.seeds += 1;
        self.simulated += run.simulated;
        self.events += run.events;
        self.operations += run.operations;
        for (what, count) in &run.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if !run.is_clean() {
            self.violations.insert(seed, run.verdict());
        }
    }
}

/// Runs seeds on that many threads; `progress` is told of each that is done.
pub fn campaign(
    seeds: RangeInclusive<u64>,
    bounds: Bounds,
    threads: usize,
    progress: impl Fn(&Summary, u64, &Run) + Sync,
) -> Summary {
    let next = AtomicU64::new(*seeds.start());
    let summary = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *seeds.end() {
                        return;
                    }
                    let run = run(&Plan::draw(seed, bounds), false);
                    let mut summary = summary.lock();
                    summary.add(seed, &run);
                    progress(&summary, seed, &run);
                }
            });
        }
    });
    summary.into_inner()
}

/// A person's view of a seed that went wrong: what is wrong, the least that makes it so, and the keys concerned.
pub fn explain(seed: u64, bounds: Bounds) -> String {
    let plan = Plan::draw(seed, bounds);
    let whole = run(&plan, false);
    let verdict = whole.verdict();
    let complains_again = |plan: &Plan| !run(plan, false).verdict().is_disjoint(&verdict);
    let reduced = reduce::reduce(&plan, REDUCTION_RUNS, complains_again);
    let least = run(&reduced, false);
    let (plan, run) = if least.is_clean() { (plan, whole) } else { (reduced, least) };
    describe(&plan, &run)
}

/// What went wrong in a run.
pub fn describe(plan: &Plan, run: &Run) -> String {
    let mut out = plan.to_string();
    for accusation in run.accusations.iter().take(5) {
        let _ = writeln!(out, "VIOLATION {accusation}");
    }
    for violation in run.violations.iter().take(5) {
        let _ = writeln!(out, "VIOLATION {violation}");
        out.push_str(&of_violation(&run.history, violation, Extent::Around(6)));
    }
    if run.violations.len() > 5 {
        let _ = writeln!(out, "and {} more violations", run.violations.len() - 5);
    }
    out
}
