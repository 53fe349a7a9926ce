//! One run: form a cluster, disturb it while clients use it, heal it, look at what is left.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use helenus_bench::history::{FORMAT, Header, Moment, View};
use rustix::process::Signal;
use tokio::{runtime, signal::unix};

use super::{
    aftermath,
    client::{Client, Clock, Observer, PATIENCE, Request},
    disturbance::Disturbance,
    links::Links,
    nemesis::{self, Terms},
    nodes::{Network, Nodes},
    record::Record,
    workload::{Names, Workload, shared_keys},
};

/// How long a cluster may take to form, or to be whole again.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);

/// Ten days, the default of the table that is used.
const TOMBSTONE_GRACE_US: u64 = 10 * 24 * 3_600 * 1_000_000;

/// What a run needs.
pub(super) struct Settings {
    pub(super) terms: Terms,
    pub(super) clients: u32,
    pub(super) keys: u32,
    /// Operations in a second, of all clients together.
    pub(super) rate: u32,
    pub(super) binary: PathBuf,
    /// Data and logs of the nodes.
    pub(super) directory: PathBuf,
    pub(super) history: PathBuf,
}

/// A run and what belongs to it. What it has started ends with it.
pub(super) struct Run {
    settings: Settings,
    runtime: runtime::Runtime,
    stop: Arc<AtomicBool>,
    network: Network,
    nodes: Nodes,
    links: Links,
    observer: Observer,
    clock: Clock,
    names: Names,
}

impl Run {
    /// Prepares a run; an interrupt ends it from here on.
    pub(super) fn new(settings: Settings) -> anyhow::Result<Self> {
        // One thread carries the bytes of all links: they are few, and the nodes need the processors.
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let inside = runtime.enter();
        for kind in [unix::SignalKind::interrupt(), unix::SignalKind::terminate()] {
            let mut signals = unix::signal(kind)?;
            let stop = Arc::clone(&stop);
            runtime.spawn(async move {
                signals.recv().await;
                stop.store(true, Ordering::Relaxed);
            });
        }
        drop(inside);
        let network = Network::free()?;
        let count = settings.terms.nodes;
        let factor = count.min(3);
        let nodes = Nodes::new(&settings.binary, &settings.directory, network, count, factor)?;
        Ok(Self {
            settings,
            runtime,
            stop,
            network,
            nodes,
            links: Links::new(),
            observer: Observer::new(network),
            clock: Clock::start(),
            names: Names::default(),
        })
    }

    /// Does everything and leaves a complete history file.
    pub(super) fn execute(mut self) -> anyhow::Result<()> {
        self.form()?;
        let header = Header {
            format: FORMAT,
            seed: self.settings.terms.seed,
            version: self.observer.version(1).context("n1 does not say its version")?,
            nodes: self.settings.terms.nodes,
            factor: self.settings.terms.nodes.min(3),
            datacenters: Vec::new(),
            deadline_us: u64::try_from(PATIENCE.as_micros())?,
            tombstone_grace_us: TOMBSTONE_GRACE_US,
        };
        self.clock = Clock::start();
        let record = Record::create(&self.settings.history, &header)?;
        let inserted = self.disturb(&record)?;
        self.look(&record)?;
        eprintln!("{:>12} ms  healed; reading everything back", self.clock.now());
        let nodes = self.settings.terms.nodes;
        self.perform_all(&record, &aftermath::operations(nodes, &self.names), true)?;
        let shared = shared_keys(self.settings.keys);
        self.perform_all(&record, &aftermath::final_reads(nodes, &self.names, &shared, &inserted), false)?;
        record.finish()?;
        self.check_interrupt()
    }

    /// Starts the nodes, learns their host ids, and starts them again with the proxies between them.
    fn form(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.all() {
            self.nodes.start(node)?;
        }
        self.wait_until_whole().context("while the cluster was formed")?;
        let host_ids = self
            .nodes
            .all()
            .map(|node| {
                self.observer.host_id(node).with_context(|| format!("n{node} does not say its host id"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        for asker in self.nodes.all() {
            for answerer in self.nodes.all().filter(|answerer| *answerer != asker) {
                let (listen, target) = (self.network.proxy(asker, answerer), self.network.peer(answerer));
                self.runtime.block_on(self.links.open(asker, answerer, listen, target))?;
            }
        }
        for node in self.nodes.all() {
            self.nodes.signal(node, Signal::TERM)?;
        }
        for node in self.nodes.all() {
            self.wait(&format!("n{node} has stopped"), |run| Ok(run.nodes.ended(node)?.is_some()))?;
        }
        self.nodes.route(host_ids);
        for node in self.nodes.all() {
            self.nodes.start(node)?;
        }
        self.wait_until_whole().context("after the proxies were put between the nodes")?;
        let unused = self.links.unused();
        ensure!(unused.is_empty(), "nodes pass by the proxies of these links (asker, answerer): {unused:?}");
        Ok(())
    }

    fn wait_until_whole(&mut self) -> anyhow::Result<()> {
        // All at once: one that was whole may have lost another since.
        self.wait("all nodes are ready and see all others up", |run| {
            for node in run.nodes.all() {
                if let Some(status) = run.nodes.ended(node)? {
                    bail!("n{node} ended with {status}; the end of its log:\n{}", run.nodes.log_tail(node));
                }
            }
            Ok(run.nodes.all().all(|node| run.is_whole(node)))
        })
    }

    fn is_whole(&self, node: u32) -> bool {
        let members = self.observer.members(node);
        members.len() == self.nodes.count() as usize
            && members.iter().all(|member| member.up && member.state == "normal")
            && self.observer.is_ready(node)
    }

    fn wait(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while !condition(self)? {
            self.check_interrupt()?;
            ensure!(start.elapsed() < CLUSTER_PATIENCE, "waited {CLUSTER_PATIENCE:?} in vain until {what}");
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn check_interrupt(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted; the history is not complete");
        Ok(())
    }

    /// Lets the clients work while the schedule is carried out, heals everything, and returns the keys they inserted.
    fn disturb(&mut self, record: &Record) -> anyhow::Result<Vec<String>> {
        let Settings { terms, clients, keys, rate, .. } = &self.settings;
        let schedule = nemesis::plan(terms);
        let (clock, network, names, stop) = (self.clock, self.network, &self.names, &self.stop);
        let start = clock.now();
        let end = start.plus(terms.duration);
        // An error of anyone ends everyone.
        let over = AtomicBool::new(false);
        let over = &over;
        let goes_on =
            move || clock.now() < end && !over.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed);
        let pause = Duration::from_secs(1) * *clients / *rate;
        thread::scope(|scope| {
            let workers: Vec<_> = (1..=*clients)
                .map(|number| {
                    let mut workload = Workload::new(terms.seed, number, terms.nodes, *keys);
                    scope.spawn(move || {
                        let client = Client::new(number, network, clock);
                        let mut pace = Pace { next: Instant::now(), pause };
                        while goes_on() {
                            pace.wait();
                            let operation = client.perform(workload.next(names));
                            record
                                .operation(&operation)
                                .inspect_err(|_| over.store(true, Ordering::Relaxed))?;
                        }
                        Ok(workload.inserted())
                    })
                })
                .collect();

            let mut disturbance =
                Disturbance::new(&mut self.nodes, &self.links, &self.observer, record, clock);
            let outcome = carry_out(&mut disturbance, &schedule, start, goes_on);
            over.store(outcome.is_err(), Ordering::Relaxed);
            let inserted: Vec<_> = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<anyhow::Result<_>>()?;
            outcome?;
            ensure!(!stop.load(Ordering::Relaxed), "interrupted; the history is not complete");
            heal(&mut disturbance)?;
            Ok(inserted.into_iter().flatten().collect())
        })
    }

    /// Waits until all nodes see all nodes, and records what they see, whatever it is.
    fn look(&mut self, record: &Record) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.nodes.all().all(|node| self.is_whole(node)) && start.elapsed() < CLUSTER_PATIENCE {
            self.check_interrupt()?;
            thread::sleep(TICK);
        }
        for node in self.nodes.all() {
            let members = self.observer.members(node);
            record.view(&View { at: self.clock.now(), node, members })?;
        }
        Ok(())
    }

    /// Performs operations, one after the other or several at once.
    fn perform_all(&self, record: &Record, requests: &[Request], in_order: bool) -> anyhow::Result<()> {
        let clients = if in_order { 1 } else { self.settings.clients };
        let next = AtomicUsize::new(0);
        let next = &next;
        thread::scope(|scope| {
            let workers: Vec<_> = (1..=clients)
                .map(|number| {
                    let client = Client::new(number, self.network, self.clock);
                    scope.spawn(move || {
                        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                            self.check_interrupt()?;
                            record.operation(&client.perform(request.clone()))?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

/// Begins each fault of the schedule in time, until it goes on no more.
fn carry_out(
    disturbance: &mut Disturbance<'_>,
    schedule: &[nemesis::Planned],
    start: Moment,
    goes_on: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut coming = schedule.iter().peekable();
    while goes_on() {
        let now = disturbance.clock.now();
        while let Some(planned) = coming.next_if(|planned| start.plus(planned.at) <= now) {
            disturbance.begin(planned, start)?;
        }
        disturbance.step()?;
        thread::sleep(TICK);
    }
    Ok(())
}

fn heal(disturbance: &mut Disturbance<'_>) -> anyhow::Result<()> {
    disturbance.end_all();
    let start = Instant::now();
    while !disturbance.is_quiet() {
        ensure!(
            start.elapsed() < CLUSTER_PATIENCE,
            "the nodes are not ready {CLUSTER_PATIENCE:?} after the heal"
        );
        disturbance.step()?;
        thread::sleep(TICK);
    }
    Ok(())
}

/// One client's part of the rate.
struct Pace {
    next: Instant,
    pause: Duration,
}

impl Pace {
    fn wait(&mut self) {
        let now = Instant::now();
        // Who was held up does not make up for it with a burst.
        self.next = self.next.max(now.checked_sub(self.pause * 10).unwrap_or(now));
        thread::sleep(self.next.saturating_duration_since(now));
        self.next += self.pause;
    }
}
