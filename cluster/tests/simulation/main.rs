//! Clusters in one process, from one seed, under everything that can be done to them: nothing acknowledged is lost,
//! and what happens depends on the seed alone.

mod campaign;

use campaign::{Bounds, campaign, explain};

const BOUNDS: Bounds = Bounds { minutes: 1.0, nodes: None };

#[test]
fn nothing_that_is_done_to_a_cluster_breaks_a_promise() {
    let seeds = 1..=20;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = campaign(seeds, BOUNDS, threads, |_, _, _| ());
    if let Some(seed) = summary.violations.keys().next() {
        panic!("seeds {:?}\n{}", summary.violations, explain(*seed, BOUNDS));
    }
}
