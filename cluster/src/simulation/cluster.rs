//! The cluster as a whole: machines on a network, what clients ask of it, what is done to it.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use helenus_storage::{Timestamp, disk::Damage};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};

use super::{
    clock::SimulatedClock,
    fault::SLOWEST_DISK,
    machine::{Machine, MachineParts},
    network::{Network, address},
    shape::Shape,
    trace::Trace,
    weather::Weather,
};
use crate::{
    error::RequestError,
    membership::MemberState,
    node::{
        ClusterStatus, Failure, HintStatus, MemberStatus, Node, ReadOutcome, ReadRequest, Readiness,
        ScanOutcome, ScanRequest, WriteOutcome, WriteRequest, in_order,
        randomness::{Stream, stream},
    },
    settings::Settings,
    table::DEFAULT_TABLE_ID,
};

/// What a client hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<T> {
    /// The coordinator's answer.
    Answer(Result<T, RequestError>),
    /// Nobody listens there: nothing was sent.
    Refused,
    /// No answer, and why not: nothing is known.
    Silence(&'static str),
}

/// A cluster of real nodes in memory, on the paused current-thread runtime of the caller.
#[derive(Debug)]
pub struct SimulatedCluster {
    shape: Shape,
    seed: u64,
    trace: Trace,
    pub(super) network: Network,
    machines: Vec<Arc<Machine>>,
}

impl SimulatedCluster {
    /// Starts the machines of a seed. A verbose trace prints each event.
    pub fn start(seed: u64, shape: Shape, verbose: bool) -> Arc<Self> {
        let trace = Trace::begin(verbose);
        let weather = if shape.rough_formation { shape.weather } else { Weather::CALM };
        let network = Network::new(trace.clone(), stream(seed, "network"), weather, shape.most_calls);
        let mut seeds = stream(seed, "machines");
        // Those of late nodes are right.
        let clocks = shape.clocks.iter().copied().chain(std::iter::repeat((0, 0)));
        let machines = (1..=shape.nodes + shape.late)
            .zip(clocks)
            .map(|(number, (offset_us, drift_ppm))| {
                Machine::new(MachineParts {
                    number,
                    seed: seeds.random(),
                    settings: Settings {
                        advertise: address(number),
                        datacenter: shape.datacenter_of(number),
                        ..shape.settings.clone()
                    },
                    options: shape.options.clone(),
                    step_time: shape.step_time,
                    clock: Arc::new(SimulatedClock::new(trace.begun(), offset_us, drift_ppm)),
                    network: network.clone(),
                    trace: trace.clone(),
                })
            })
            .collect::<Vec<_>>();
        shape.late_nodes().for_each(|late| machines[late as usize - 1].hold());
        for machine in &machines {
            tokio::spawn(Arc::clone(machine).supervise());
        }
        Arc::new(Self { shape, seed, trace, network, machines })
    }

    /// Waits until the nodes are one cluster; if the shape says so, in bad weather and while they die. Whether they
    /// became one within a virtual minute of good weather. Not all of them know it of all others then: to some, a node
    /// that has joined is joining still.
    pub async fn form(&self) -> bool {
        if self.shape.rough_formation {
            let mut random = self.stream("formation");
            for _ in 0..random.random_range(0..12) {
                sleep(Duration::from_millis(random.random_range(0..1500))).await;
                let node = random.random_range(1..=self.shape.nodes);
                let damage = Damage::ALL[random.random_range(0..Damage::ALL.len())];
                let durable = self.shape.is_durable();
                self.trace.count("crashes while forming");
                self.machine(node).die(if durable { damage } else { Damage::ProcessOnly });
            }
        }
        self.network.set_weather(Weather::CALM);
        let formed = wait_until(Duration::from_secs(60), || self.is_formed()).await;
        self.network.set_weather(self.shape.weather);
        formed
    }

    /// Ends what is still wrong with network, clocks and disks.
    ///
    /// Where clocks jumped beyond the drift that nodes accept, the nodes are restarted too, which forgets what they had
    /// merely followed. One that stores what is further ahead goes on refusing writes until its clock has caught up.
    pub async fn heal(&self) {
        self.network.set_weather(Weather::CALM);
        self.network.damaged_have_arrived().await;
        for machine in &self.machines {
            machine.repair_disk();
            machine.parts.clock.correct(i64::from(machine.parts.number) * 100);
        }
        // A disk that was slow finishes what it was at.
        sleep(self.shape.step_time * SLOWEST_DISK).await;
        if self.shape.has_wild_clocks() {
            for machine in &self.machines {
                machine.stop().await;
            }
        }
    }

    /// Waits until every node serves and sees every other as normal and up, late ones as joining or normal; whether that
    /// was so in time.
    pub async fn settles(&self, within: Duration) -> bool {
        wait_until(within, || self.is_settled()).await
    }

    fn is_formed(&self) -> bool {
        self.everywhere(|status| {
            let own = status.members.iter().find(|member| member.host_id == status.host_id);
            own.is_some_and(|own| own.state.owns_ranges())
        })
    }

    fn is_settled(&self) -> bool {
        self.everywhere(|status| {
            status.members.iter().all(|member| {
                let has_joined = member.state == MemberState::Normal;
                member.up == Some(true)
                    && (has_joined || (self.is_late(member) && member.state == MemberState::Joining))
            })
        })
    }

    /// Whether every node serves, knows of all, and sees the cluster so.
    fn everywhere(&self, holds: impl Fn(&ClusterStatus) -> bool) -> bool {
        (1..=self.shape.nodes).all(|number| {
            let Some((node, _)) = self.machine(number).process() else { return false };
            let status = node.status();
            node.readiness() == Readiness::Ready && status.members.len() == self.started() && holds(&status)
        })
    }

    /// Whether a member joined when the cluster had records, so may be joining for ever.
    pub fn is_late(&self, member: &MemberStatus) -> bool {
        self.shape.late_nodes().any(|late| address(late) == member.address)
    }

    /// The machines that were ever on.
    fn started(&self) -> usize {
        self.machines.iter().filter(|machine| machine.boots() > 0).count()
    }

    /// Asks a node to coordinate a write; the client waits no longer than its patience.
    pub async fn write(
        &self,
        coordinator: u32,
        request: WriteRequest,
        patience: Duration,
    ) -> Reply<WriteOutcome> {
        self.ask(coordinator, patience, async |node| node.write(request).await.map_err(|f| f.error)).await
    }

    /// Asks a node to coordinate writes together; the client waits no longer than its patience.
    pub async fn write_batch(
        &self,
        coordinator: u32,
        requests: Vec<WriteRequest>,
        patience: Duration,
    ) -> Vec<Reply<WriteOutcome>> {
        let count = requests.len();
        let batch = async |node: Arc<Node>| Ok(in_order(node.write_batch(requests)).await);
        each_of(count, self.ask(coordinator, patience, batch).await)
    }

    /// Asks a node to coordinate reads together; the client waits no longer than its patience.
    pub async fn read_batch(
        &self,
        coordinator: u32,
        requests: Vec<ReadRequest>,
        patience: Duration,
    ) -> Vec<Reply<ReadOutcome>> {
        let count = requests.len();
        let batch = async |node: Arc<Node>| Ok(in_order(node.read_batch(requests)).await);
        each_of(count, self.ask(coordinator, patience, batch).await)
    }

    /// Asks a node to coordinate a read; the client waits no longer than its patience.
    pub async fn read(
        &self,
        coordinator: u32,
        request: ReadRequest,
        patience: Duration,
    ) -> Reply<ReadOutcome> {
        self.ask(coordinator, patience, async |node| node.read(request).await.map_err(|f| f.error)).await
    }

    /// Asks a node to coordinate a page of a scan; the client waits no longer than its patience.
    pub async fn scan(
        &self,
        coordinator: u32,
        request: ScanRequest,
        patience: Duration,
    ) -> Reply<ScanOutcome> {
        self.ask(coordinator, patience, async |node| node.scan(request).await.map_err(|f| f.error)).await
    }

    async fn ask<T>(
        &self,
        coordinator: u32,
        patience: Duration,
        question: impl AsyncFnOnce(Arc<Node>) -> Result<T, RequestError>,
    ) -> Reply<T> {
        let machine = self.machine(coordinator);
        let Some((node, life)) = machine.process() else { return Reply::Refused };
        let answered = async {
            machine.awake.awake().await;
            let answer = question(node).await;
            machine.awake.awake().await;
            answer
        };
        tokio::select! {
            biased;
            () = life.cancelled() => Reply::Silence("the coordinator died"),
            () = sleep(patience) => Reply::Silence("the client gave up"),
            answer = answered => Reply::Answer(answer),
        }
    }

    /// The cluster as a node sees it, if it runs.
    pub fn status(&self, node: u32) -> Option<ClusterStatus> {
        self.machine(node).process().map(|(node, _)| node.status())
    }

    /// The hints that a node keeps, if it runs.
    pub fn hints(&self, node: u32) -> Option<HintStatus> {
        self.machine(node).process().map(|(node, _)| node.hints())
    }

    /// What each replica of each key holds: the timestamp of its record. Keys of which no node holds anything are left out.
    pub fn copies(&self) -> BTreeMap<String, Vec<(u32, Option<Timestamp>)>> {
        let mut held: BTreeMap<Bytes, BTreeMap<u32, Timestamp>> = BTreeMap::new();
        let running = (1..=self.shape.nodes).filter_map(|number| {
            let machine = self.machine(number);
            Some((number, machine.process()?.0, machine.engine()?))
        });
        let running: Vec<_> = running.collect();
        for (number, _, engine) in &running {
            let records = engine.scan(DEFAULT_TABLE_ID, (Bound::Unbounded, Bound::Unbounded), usize::MAX);
            for (key, record) in records.unwrap_or_default() {
                held.entry(key).or_default().insert(*number, record.timestamp);
            }
        }
        let copies = held.into_iter().map(|(key, held)| {
            let owners = running.iter().filter(|(_, node, _)| node.owns(DEFAULT_TABLE_ID, &key));
            let copies = owners.map(|(number, ..)| (*number, held.get(number).copied())).collect();
            (key.escape_ascii().to_string(), copies)
        });
        copies.collect()
    }

    /// Which of its processes a node is: counts its starts.
    pub fn start_of(&self, node: u32) -> u64 {
        self.machine(node).boots()
    }

    /// A node's wall clock.
    pub fn clock(&self, node: u32) -> &SimulatedClock {
        &self.machine(node).parts.clock
    }

    /// What it is made of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What happened.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The random stream of a purpose.
    pub fn stream(&self, purpose: &str) -> Stream {
        stream(self.seed, purpose)
    }

    pub(super) fn machine(&self, number: u32) -> &Arc<Machine> {
        &self.machines[number as usize - 1]
    }

    /// Waits until a node serves, but not for ever: other faults may hold it.
    pub(super) async fn serves(&self, number: u32) {
        let serving = async {
            while self.machine(number).process().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // Late or not, the caller goes on.
        let _: Result<(), _> = timeout(Duration::from_secs(30), serving).await;
    }
}

/// What a client hears of each of so many requests.
fn each_of<T: Clone>(count: usize, reply: Reply<Vec<Result<T, Failure>>>) -> Vec<Reply<T>> {
    match reply {
        Reply::Answer(Ok(outcomes)) => {
            outcomes.into_iter().map(|outcome| Reply::Answer(outcome.map_err(|f| f.error))).collect()
        }
        Reply::Answer(Err(error)) => vec![Reply::Answer(Err(error)); count],
        Reply::Refused => vec![Reply::Refused; count],
        Reply::Silence(why) => vec![Reply::Silence(why); count],
    }
}

async fn wait_until(within: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}
