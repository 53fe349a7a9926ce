//! Clusters in one process, from one seed, under everything that can be done to them: nothing acknowledged is lost,
//! a healed cluster is whole, and what happens depends on the seed alone.
//!
//! For longer runs by hand there is the example `simulate`.

mod campaign;

use std::{collections::BTreeMap, process::Command, thread::available_parallelism, time::Duration};

use campaign::{Bounds, Plan, campaign, explain, reduce::reduce, run};
use helenus_cluster::simulation::{Shape, SimulatedCluster};
use helenus_storage::Options;
use tokio::runtime::Builder;

/// About three minutes for 200 seeds on two cores of a debug build.
const BOUNDS: Bounds = Bounds { minutes: 0.8, nodes: None };
const SEEDS: u64 = 200;

/// Name of the test that another process is asked for.
const TELLER: &str = "traces_of_twenty_seeds";

#[test]
fn nothing_that_is_done_to_a_cluster_breaks_a_promise() {
    let threads = available_parallelism().map_or(1, usize::from);

    let summary = campaign(1..=SEEDS, BOUNDS, threads, |_, _, _| ());

    if let Some(seed) = summary.violations.keys().next() {
        panic!("violations by seed: {:?}\n{}", summary.violations, explain(*seed, BOUNDS));
    }
    assert_eq!(summary.seeds, SEEDS);
    assert!(summary.operations > 100_000, "a run without operations proves nothing: {summary:?}");
    let kinds = [
        "kill",
        "power cut",
        "power cut of all",
        "crash loop",
        "partition",
        "pause",
        "clock jump",
        "disk full",
        "late join",
    ];
    for kind in kinds {
        assert!(summary.counts.get(kind).is_some_and(|count| *count > 0), "no {kind}: {:?}", summary.counts);
    }
}

#[test]
fn what_goes_wrong_is_reduced_to_the_disturbances_that_it_takes() {
    let plan = (1..).map(|seed| Plan::draw(seed, BOUNDS)).find(|plan| plan.schedule.len() > 12).unwrap();
    let culprits = [plan.schedule[3].from, plan.schedule[9].from];
    let takes_both = |plan: &Plan| {
        culprits.iter().all(|culprit| plan.schedule.iter().any(|disturbance| disturbance.from == *culprit))
    };

    let reduced = reduce(&plan, 150, takes_both);
    let given_up = reduce(&plan, 3, takes_both);

    assert_eq!(reduced.schedule.iter().map(|disturbance| disturbance.from).collect::<Vec<_>>(), culprits);
    assert_eq!(reduced.workload.clients, plan.workload.clients.div_ceil(2));
    assert!(takes_both(&given_up) && given_up.schedule.len() > 2, "out of runs, it is what was found so far");
}

/// The largest share of the keys above the mean, as nodes that are started at the same instant share them.
fn excess_of_nodes_started_at_once(nodes: u32, factor: u32, allocates_for: Option<u32>) -> f64 {
    let seed = u64::from(nodes);
    let mut shape = Shape::draw(seed, Some(nodes));
    shape.late = 0;
    shape.datacenters = Vec::new();
    shape.rough_formation = false;
    shape.options = Options::default();
    shape.settings.seeds.truncate(1);
    shape.settings.num_tokens = 16;
    shape.settings.default_replication = BTreeMap::new();
    shape.settings.default_replication_factor = Some(factor);
    shape.settings.allocate_tokens_for = allocates_for;
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(async {
        let cluster = SimulatedCluster::start(seed, shape, false);
        assert!(cluster.form().await, "{nodes} nodes form one cluster");
        // Each owns its ranges; that all others do, a node may have yet to hear.
        assert!(cluster.settles(Duration::from_secs(60)).await, "{nodes} nodes know each other's ranges");
        let members = cluster.status(1).expect("it runs").members;
        let mean = f64::from(factor) / f64::from(nodes);
        members.iter().map(|member| member.owns).fold(0.0, f64::max) / mean - 1.0
    })
}

#[test]
fn nodes_started_at_once_choose_tokens_that_share_the_keys_evenly() {
    println!(
        "nodes factor   drawn  allocated   (largest share above the mean, 16 tokens, allocated for factor 3)"
    );
    for (nodes, factor, bound) in [(3, 1, 0.1), (6, 3, 0.1), (20, 3, 0.15)] {
        let drawn = excess_of_nodes_started_at_once(nodes, factor, None);
        let allocated = excess_of_nodes_started_at_once(nodes, factor, Some(3));
        println!("{nodes:5} {factor:6} {:6.1}% {:9.1}%", drawn * 100.0, allocated * 100.0);
        assert!(allocated <= bound, "{nodes} nodes: {allocated:.3} allocated, {drawn:.3} drawn");
    }
}

#[test]
fn equal_seeds_have_equal_traces_in_separate_processes() {
    let tell = || {
        let this = std::env::current_exe().expect("a test binary has a path");
        let child = Command::new(this).args(["--exact", TELLER, "--ignored", "--nocapture"]).output();
        let child = child.expect("it runs once, so it runs twice");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        let told = String::from_utf8(child.stdout).expect("it prints text");
        let traces: BTreeMap<String, String> = told
            .lines()
            .filter_map(|line| line.split_once("trace of ")?.1.split_once(' '))
            .map(|(seed, trace)| (seed.to_owned(), trace.to_owned()))
            .collect();
        assert_eq!(traces.len(), 20, "{told}");
        traces
    };

    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(tell);
        (tell(), first.join().expect("it does not panic"))
    });

    assert_eq!(first, second);
}

/// Told to the test above by another process.
#[test]
#[ignore = "prints; the test above runs it"]
fn traces_of_twenty_seeds() {
    let bounds = Bounds { minutes: 0.25, nodes: None };
    for seed in 1..=20 {
        let run = run(&Plan::draw(seed, bounds), false);
        println!("\ntrace of {seed} {:016x} {} events", run.trace, run.events);
    }
}
