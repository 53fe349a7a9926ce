//! One run of one plan: form, disturb, heal, look.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Once},
    time::Duration,
};

use helenus_bench::{
    checkers::{self, Violation},
    history::{Action, FORMAT, Header, History, Level, MemberView, Moment, Phase, View},
};
use helenus_cluster::{
    node::HintCounters,
    simulation::{SimulatedCluster, disturb},
};
use parking_lot::Mutex;
use tokio::runtime::Builder;

use super::{
    client::Clients,
    judge,
    plan::Plan,
    workload::{Values, Wish},
};

/// How long clients work after the heal.
const HEALED: Duration = Duration::from_secs(10);
/// How soon a healed cluster must be whole.
const RECOVERY: Duration = Duration::from_secs(60);

/// Which part of the seeds ends with a link cut and a member removed.
const FAREWELLS: u64 = 8;

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// A hash over everything that happened.
    pub trace: u64,
    pub events: u64,
    pub simulated: Duration,
    pub operations: u64,
    pub counts: BTreeMap<&'static str, u64>,
    pub violations: Vec<Violation>,
    /// What is wrong beyond what clients saw.
    pub accusations: Vec<String>,
    /// For the timeline of a violation.
    pub history: History,
}

impl Run {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.accusations.is_empty()
    }

    /// What kind of wrong it is: who found it.
    pub fn verdict(&self) -> BTreeSet<String> {
        let violations = self.violations.iter().map(|violation| violation.checker.name().to_owned());
        let accusations = self.accusations.iter().map(|what| what.split(':').next().unwrap_or("").to_owned());
        violations.chain(accusations).collect()
    }
}

/// Carries out a plan. Two calls with equal plans have equal traces.
pub fn run(plan: &Plan, verbose: bool) -> Run {
    note_panics();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    let mut history = History::new(header(plan));
    // A panic of a task is found by its message; one of the run itself would end everything.
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(carry_out(plan, verbose, &mut history))));
    drop(runtime);
    let panics = PANICS.with(RefCell::take);
    let mut run = done.unwrap_or_else(|_| Run {
        trace: 0,
        events: 0,
        simulated: Duration::ZERO,
        operations: 0,
        counts: BTreeMap::new(),
        violations: Vec::new(),
        accusations: Vec::new(),
        history: History::new(header(plan)),
    });
    history.sort();
    run.history = history;
    run.accusations.extend(panics.into_iter().map(|panic| format!("panic: {panic}")));
    if run.accusations.is_empty() {
        run.violations.extend(judge::judge(plan, &run.history));
    }
    run
}

fn header(plan: &Plan) -> Header {
    Header {
        format: FORMAT,
        seed: plan.seed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nodes: plan.shape.nodes,
        factor: plan.shape.factor,
        datacenters: judge::datacenters(&plan.shape),
        deadline_us: plan.workload.patience.as_micros() as u64,
        tombstone_grace_us: u64::MAX,
    }
}

async fn carry_out(plan: &Plan, verbose: bool, history: &mut History) -> Run {
    let cluster = SimulatedCluster::start(plan.seed, plan.shape.clone(), verbose);
    let clients = Arc::new(Clients {
        cluster: Arc::clone(&cluster),
        workload: plan.workload.clone(),
        values: Mutex::new(Values::default()),
        operations: Mutex::default(),
        stamps: Mutex::default(),
    });
    let mut differences = Vec::new();
    if cluster.form().await && work_while_nodes_settle(&clients).await {
        let formed = Moment(cluster.trace().moment_us());
        let (disturbed, ()) = tokio::join!(
            biased;
            disturb(&cluster, &plan.schedule),
            clients.work(Phase::Disturbed, plan.disturbed),
        );
        history.faults = judge::beginning(plan, formed);
        history.faults.extend(judge::as_history(plan, &disturbed));
        cluster.heal().await;
        if cluster.settles(RECOVERY).await {
            clients.work(Phase::Healed, HEALED).await;
            deliver_hints(&cluster).await;
            differences = compare_replicas(plan, &cluster);
            read_everything(&clients).await;
        } else {
            cluster
                .trace()
                .accuse(format!("not whole within {RECOVERY:?} of the heal: {}", states(&cluster)));
        }
        history.views = views(&cluster);
        if plan.seed.is_multiple_of(FAREWELLS) && cluster.trace().violations().is_empty() {
            cluster.farewell().await;
        }
    } else {
        cluster.trace().accuse(format!("not formed within a minute: {}", states(&cluster)));
    }
    history.operations = std::mem::take(&mut *clients.operations.lock());
    let trace = cluster.trace();
    Run {
        trace: trace.hash(),
        events: trace.events(),
        simulated: Duration::from_micros(trace.elapsed_us()),
        operations: history.operations.len() as u64,
        counts: trace.counts(),
        violations: differences,
        accusations: trace.violations(),
        history: History::new(header(plan)),
    }
}

/// Works while some nodes know of a join and others do not yet. Whether all know it in time.
async fn work_while_nodes_settle(clients: &Arc<Clients>) -> bool {
    let cluster = &clients.cluster;
    clients.work(Phase::Disturbed, cluster.shape().settings.gossip_interval).await;
    cluster.settles(RECOVERY).await
}

/// All are up, so nobody keeps hints for long; and none of them is lost.
async fn deliver_hints(cluster: &SimulatedCluster) {
    let end = tokio::time::Instant::now() + RECOVERY;
    let kept = || (1..=cluster.shape().nodes).filter_map(|node| Some((node, cluster.hints(node)?)));
    while kept().any(|(_, hints)| !hints.targets.is_empty()) {
        if tokio::time::Instant::now() > end {
            let kept: Vec<_> = kept().collect();
            return cluster.trace().accuse(format!("hints: not delivered within {RECOVERY:?}: {kept:?}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (node, hints) in kept() {
        let HintCounters { reloaded, void, kept, delivered, moved, superseded, expired, refused, .. } =
            hints.counters;
        if reloaded + kept > delivered + moved + superseded + expired + void {
            cluster.trace().accuse(format!("hints: n{node} has lost some: {hints:?}"));
        }
        let marked: u64 = hints.marks.iter().map(|mark| mark.hints).sum();
        if (expired + refused > 0 && marked == 0) || void > marked {
            cluster.trace().accuse(format!("hints: n{node} has given some up in silence: {hints:?}"));
        }
    }
}

/// Where no node died, hints alone make the replicas equal, but for what was given up and marked.
fn compare_replicas(plan: &Plan, cluster: &SimulatedCluster) -> Vec<Violation> {
    let has_marks = |node| cluster.hints(node).is_none_or(|hints| !hints.marks.is_empty());
    if !plan.is_peaceful || (1..=plan.shape.nodes).any(has_marks) {
        return Vec::new();
    }
    cluster.trace().count("replicas compared");
    checkers::replicas::check(&cluster.copies())
}

/// The final reads: at ALL and QUORUM, through each node; of keys that are written once, through one of them. Before them
/// scans, which find all keys as they are.
async fn read_everything(clients: &Clients) {
    let keys: BTreeSet<String> = clients.operations.lock().iter().map(|o| o.key.clone()).collect();
    let nodes = clients.cluster.shape().nodes;
    let mut random = clients.cluster.stream("last scans");
    for level in [Level::Quorum, Level::All] {
        clients.scan(0, Phase::Final, level, &mut random).await;
    }
    for (index, key) in (0..).zip(keys) {
        let through: Vec<u32> =
            if key.starts_with("set/") { vec![index % nodes + 1] } else { (1..=nodes).collect() };
        for coordinator in through {
            for level in [Level::Quorum, Level::All] {
                let patience = clients.workload.patience;
                let wish = Wish { key: key.clone(), action: Action::Read, level, coordinator, patience };
                clients.perform(0, Phase::Final, wish, None).await;
            }
        }
    }
}

fn views(cluster: &SimulatedCluster) -> Vec<View> {
    (1..=cluster.shape().nodes)
        .map(|node| {
            let members = cluster.status(node).map_or_else(Vec::new, |status| status.members);
            // That late ones are up, and join or have joined, was waited for.
            let mut members: Vec<MemberView> = members
                .into_iter()
                .filter(|member| !cluster.is_late(member))
                .map(|member| MemberView {
                    host_id: member.host_id.to_string(),
                    state: member.state.to_string(),
                    up: member.up == Some(true),
                })
                .collect();
            members.sort();
            View { at: Moment(cluster.trace().moment_us()), node, members }
        })
        .collect()
}

fn states(cluster: &SimulatedCluster) -> String {
    let one = |node: u32| match cluster.status(node) {
        None => format!("n{node} does not run"),
        Some(status) => {
            let seen: Vec<String> = status
                .members
                .iter()
                .map(|member| {
                    let up = if member.up == Some(true) { "up" } else { "down" };
                    let why = member.why.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
                    format!("{} {} {up}{why}", member.address, member.state)
                })
                .collect();
            format!("n{node} sees {}", seen.join(", "))
        }
    };
    (1..=cluster.shape().nodes).map(one).collect::<Vec<_>>().join("; ")
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A panic in a task of a node ends the task and nothing else; here it is a violation.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.borrow_mut().push(info.to_string()));
            usual(info);
        }));
    });
}
