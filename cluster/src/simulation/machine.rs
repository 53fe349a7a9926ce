//! A machine: a disk and a clock that outlive the processes that run on it, and the supervisor that starts them.
//!
//! ```text
//!   off ── wanted ──> boot: open the engine (recovery), identity, node ──> serves
//!    ▲                  │ storage fails                                     │ killed, power cut, poisoned
//!    └──── pause <──────┴───────────────────────────────────────────────────┘
//! ```
//!
//! A process that dies leaves its disk as the damage says, in a new [`SimulatedDisk`]: its tasks, which no runtime can
//! take away in the midst of a poll, are left with the old one, cut off from network and clients, and end by
//! themselves.

use std::{path::Path, sync::Arc, time::Duration};

use helenus_storage::{
    Clock, Engine, Error, Options,
    disk::{Damage, Disk, Fault as DiskFault, Repeat, SimulatedDisk},
};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{clock::SimulatedClock, driver, network::Network, trace::Trace};
use crate::{
    node::{
        Node, Parts, Spawners, StartError,
        identity::LocalIdentity,
        randomness::{Stream, stream},
    },
    node_id::Generation,
    settings::Settings,
    time::WallClock,
};

/// How long a stop on request may take before the process is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a supervisor looks whether its process is of any use.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// What a machine is made of.
#[derive(Debug)]
pub(super) struct MachineParts {
    pub(super) number: u32,
    pub(super) seed: u64,
    pub(super) settings: Settings,
    pub(super) options: Options,
    /// Time a step of the engine takes, at most.
    pub(super) step_time: Duration,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) network: Network,
    pub(super) trace: Trace,
}

/// One machine of the cluster.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) parts: MachineParts,
    pub(super) awake: Awake,
    state: Mutex<State>,
    /// Rings when the machine is wanted again.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    disk: SimulatedDisk,
    random: Stream,
    process: Option<Process>,
    boots: u64,
    /// Of the last process that was told who it is.
    generation: Option<Generation>,
    /// Reasons not to run a process.
    holds: u32,
    /// Reasons to have no space left.
    full: u32,
    /// How many times slower the disk is.
    slowness: u32,
    /// What the power cut that is armed on the disk will do.
    armed: Option<Damage>,
}

/// A process that runs, or boots.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// Cancelled when it dies.
    pub(super) life: CancellationToken,
    /// Once it serves.
    pub(super) node: Option<Arc<Node>>,
    pub(super) engine: Arc<Engine>,
}

/// Whether a machine's processes run at the moment; paused ones stand still.
///
/// Not tokio's `watch`: it wakes its waiters in an order that it draws from the thread's own generator.
#[derive(Debug, Clone, Default)]
pub(super) struct Awake(Arc<Pauses>);

#[derive(Debug, Default)]
struct Pauses {
    count: Mutex<u32>,
    over: Notify,
}

impl Awake {
    /// Waits until nothing pauses it.
    pub(super) async fn awake(&self) {
        loop {
            let over = self.0.over.notified();
            if *self.0.count.lock() == 0 {
                return;
            }
            over.await;
        }
    }

    pub(super) fn pause(&self) {
        *self.0.count.lock() += 1;
    }

    pub(super) fn resume(&self) {
        let mut count = self.0.count.lock();
        *count = count.saturating_sub(1);
        self.0.over.notify_waiters();
    }
}

impl Machine {
    pub(super) fn new(parts: MachineParts) -> Arc<Self> {
        let state = State {
            disk: SimulatedDisk::new(parts.seed),
            random: stream(parts.seed, "machine"),
            process: None,
            boots: 0,
            generation: None,
            holds: 0,
            full: 0,
            slowness: 1,
            armed: None,
        };
        Arc::new(Self { parts, awake: Awake::default(), state: Mutex::new(state), wanted: Notify::new() })
    }

    /// Starts processes, one after the other, for ever.
    pub(super) async fn supervise(self: Arc<Self>) {
        loop {
            while self.state.lock().holds > 0 {
                self.wanted.notified().await;
            }
            let pause = self.state.lock().random.random_range(20..500);
            sleep(Duration::from_millis(pause)).await;
            self.awake.awake().await;
            if self.state.lock().holds > 0 {
                continue;
            }
            match Arc::clone(&self).boot().await {
                Ok(process) => self.watch(&process).await,
                Err(error) => {
                    self.judge(&error);
                    self.die(Damage::ProcessOnly);
                }
            }
        }
    }

    /// Until the process is dead: most of what shuts an engine shows in a step, the rest is found by looking.
    async fn watch(&self, process: &Process) {
        while timeout(WATCH_INTERVAL, process.life.cancelled()).await.is_err() {
            self.survives(&process.engine);
        }
    }

    /// The engine of the process that runs or boots.
    pub(super) fn engine(&self) -> Option<Arc<Engine>> {
        self.state.lock().process.as_ref().map(|process| Arc::clone(&process.engine))
    }

    /// The process that runs, if its node serves.
    pub(super) fn process(&self) -> Option<(Arc<Node>, CancellationToken)> {
        let state = self.state.lock();
        let process = state.process.as_ref()?;
        Some((Arc::clone(process.node.as_ref()?), process.life.clone()))
    }

    /// How many processes were started; so which of them runs.
    pub(super) fn boots(&self) -> u64 {
        self.state.lock().boots
    }

    /// Ends the process without warning and leaves the disk as the damage says. Without a process, the power cut still
    /// hits what an earlier one had not synced.
    pub(super) fn die(&self, damage: Damage) {
        let mut state = self.state.lock();
        // A power cut in the midst of an operation was on its way already.
        let damage = if state.disk.is_off() { state.armed.take().unwrap_or(damage) } else { damage };
        let seed = state.random.random();
        state.disk = state.disk.crash(seed, damage);
        if state.full > 0 {
            state.disk.fail_at(0, DiskFault::NoSpace, Repeat::Forever);
        }
        let Some(Process { life, node, engine }) = state.process.take() else { return };
        drop(state);
        self.parts.trace.note(self.parts.number, "dies", &[]);
        life.cancel();
        self.parts.network.unplug(self.parts.number);
        // Nobody is left to hear of it: it only ends the waiting of the tasks that are left.
        let _: Result<(), Error> = engine.close();
        if let Some(node) = node {
            tokio::spawn(async move { node.stop(Instant::now()).await });
        }
    }

    /// Asks the process to stop, and waits for it.
    pub(super) async fn stop(&self) {
        let Some(Process { node, engine, life }) = self.state.lock().process.clone() else { return };
        let in_order = async {
            if let Some(node) = node {
                node.drain();
                node.stop(Instant::now() + PATIENCE / 2).await;
            }
            // A failure is the next recovery's to deal with.
            let _: Result<(), Error> = engine.close();
        };
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            _ = timeout(PATIENCE, in_order) => self.die(Damage::ProcessOnly),
        }
    }

    /// From now on no process is started, until [`Machine::release`].
    pub(super) fn hold(&self) {
        self.state.lock().holds += 1;
    }

    /// Takes one [`Machine::hold`] back.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        state.holds = state.holds.saturating_sub(1);
        self.wanted.notify_one();
    }

    /// The power will be cut in the midst of one of the next disk operations.
    pub(super) fn cut_power_in(&self, operations: u64, damage: Damage) {
        let mut state = self.state.lock();
        state.armed = Some(damage);
        state.disk.crash_at(state.disk.operations() + operations);
    }

    /// One of the next disk operations (or reads) will fail.
    pub(super) fn fail_in(&self, operations: u64, fault: DiskFault) {
        let state = self.state.lock();
        let done = if fault == DiskFault::Read { state.disk.reads() } else { state.disk.operations() };
        state.disk.fail_at(done + operations, fault, Repeat::Once);
    }

    /// No operation that needs space succeeds, until [`Machine::free_disk`].
    pub(super) fn fill_disk(&self) {
        let mut state = self.state.lock();
        state.full += 1;
        state.disk.fail_at(0, DiskFault::NoSpace, Repeat::Forever);
    }

    /// Takes one [`Machine::fill_disk`] back.
    pub(super) fn free_disk(&self) {
        let mut state = self.state.lock();
        state.full = state.full.saturating_sub(1);
        if state.full == 0 {
            state.disk.repair();
        }
    }

    /// Disarms what is to hit the disk yet. A power cut that has hit it kills the process.
    pub(super) fn disarm(&self) {
        let state = self.state.lock();
        let is_off = state.disk.is_off();
        state.disk.repair();
        if state.full > 0 {
            state.disk.fail_at(0, DiskFault::NoSpace, Repeat::Forever);
        }
        drop(state);
        if is_off {
            self.die(Damage::Forgotten);
        }
    }

    /// Each step of the engine takes that many times as long.
    pub(super) fn slow_disk(&self, times: u32) {
        self.state.lock().slowness = times.max(1);
    }

    /// Switches all memtables, so that they are flushed.
    pub(super) fn flush(&self) {
        let process = self.state.lock().process.clone();
        if let Some(process) = process {
            // A shut engine has nothing to flush.
            let _: Result<(), Error> = process.engine.switch_memtables();
        }
    }

    /// Nothing is wrong with the disk any more.
    pub(super) fn repair_disk(&self) {
        let mut state = self.state.lock();
        (state.full, state.slowness) = (0, 1);
        drop(state);
        self.disarm();
    }

    /// How long the next step of the engine takes.
    pub(super) fn step_time(&self, random: &mut Stream) -> Duration {
        let most = self.parts.step_time * self.state.lock().slowness;
        most.mul_f64(random.random::<f64>())
    }

    /// A step of the engine has failed: whether the process goes on.
    pub(super) fn survives(&self, engine: &Engine) -> bool {
        let is_off = self.state.lock().disk.is_off();
        if is_off {
            self.parts.trace.count("power cuts within a disk operation");
            self.die(Damage::Forgotten);
        } else if engine.poisoned().is_some() {
            self.parts.trace.count("engines poisoned");
            self.die(Damage::ProcessOnly);
        } else {
            return true;
        }
        false
    }

    async fn boot(self: Arc<Self>) -> Result<Process, StartError> {
        let (process, seed) = {
            let mut state = self.state.lock();
            state.boots += 1;
            let disk: Arc<dyn Disk> = Arc::new(state.disk.clone());
            let clock = Arc::clone(&self.parts.clock);
            let clock = Some(Clock::new(move || WallClock::now(&*clock)));
            let options = Options { clock, ..self.parts.options.clone() };
            let engine = Engine::open(disk, Path::new("/data"), options)?;
            let life = CancellationToken::new();
            let process = Process { life, node: None, engine: Arc::new(engine) };
            state.process = Some(process.clone());
            // Only the first start draws what must last; the others draw anew, as real processes do.
            (process, self.parts.seed.wrapping_add(state.boots << 32))
        };
        self.parts.trace.note(self.parts.number, "boots", &[seed >> 32]);
        driver::start(&self, &process);
        let node = tokio::select! {
            biased;
            () = process.life.cancelled() => return Ok(process),
            node = self.start_node(&process, seed) => node?,
        };
        if let Some(process) = &mut self.state.lock().process {
            process.node = Some(Arc::clone(&node));
        }
        self.parts.network.listen(self.parts.number, node);
        self.parts.trace.note(self.parts.number, "serves", &[]);
        Ok(process)
    }

    async fn start_node(&self, process: &Process, seed: u64) -> Result<Arc<Node>, StartError> {
        let MachineParts { number, settings, clock, network, .. } = &self.parts;
        let identity = LocalIdentity::load_or_create(&process.engine, settings, &**clock, seed).await?;
        self.check_generation(identity.generation());
        let identity = Arc::new(identity);
        let awake = self.awake.clone();
        let transport = network.plug_in(*number, Arc::clone(&identity), process.life.clone(), awake);
        Node::start(Parts {
            settings: settings.clone(),
            identity,
            engine: Arc::clone(&process.engine),
            transport,
            clock: Arc::clone(clock) as _,
            seed,
            spawners: Spawners { requests: Handle::current(), membership: Handle::current() },
            inline_reads: true,
        })
        .await
    }

    /// A node may use each generation once, whatever its clock says: others tell its newer descriptions from older ones
    /// by it.
    fn check_generation(&self, generation: Generation) {
        let last = self.state.lock().generation.replace(generation);
        if last.is_some_and(|last| generation <= last) {
            self.parts.trace.accuse(format!("a generation came twice: n{}", self.parts.number));
        }
    }

    /// No fault of the simulation rots what was synced: a disk that a node refuses was damaged by the node.
    fn judge(&self, error: &StartError) {
        self.parts.trace.count("starts that failed");
        self.parts.trace.explain(self.parts.number, error);
        let is_ours = match error {
            StartError::Storage(Error::Corrupt { .. } | Error::Locked { .. } | Error::NoSuchTable(_))
            | StartError::Identity(_) => false,
            StartError::Storage(_) => true,
        };
        if !is_ours {
            self.parts.trace.accuse(format!("n{} cannot start again: {error}", self.parts.number));
        }
    }
}
