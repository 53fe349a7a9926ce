//! `helenus serve`: one node in the foreground, from its settings to its last sync.
//!
//! ```text
//!   bind all addresses ─▶ answer clients "starting" ─▶ open storage (replays the log) ─▶ identity ─▶ node
//!     ─▶ listen to peers ─▶ serve clients
//!   flush, close storage ◀─ stop node and transport ◀─ stop serving peers ◀─ drain ◀─ stop serving clients ◀─ SIGTERM, SIGINT
//! ```
//!
//! Clients come first: a request whose head was read when the signal came is served to its end, also if its body is still on
//! its way, for `http.drain_timeout` at most. Nobody else is let in, and each connection ends with the reply under way.
//!
//! A signal during the start ends the process at once, which is what a crash would do: nothing was acknowledged yet.
//! A second signal ends the process at once; that loses nothing that was acknowledged. SIGHUP does nothing. When a
//! sync has failed the process exits with 1 without any further write: whoever supervises it starts it again, and
//! the replay of the log finds out what is durable.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use helenus_cluster::{
    node::{Node, Parts, Spawners, identity::LocalIdentity},
    settings::Settings,
    snitch::Locality,
    time::{SystemClock, WallClock},
};
use helenus_storage::{
    Engine, Step, StepOutcome,
    background::{Background, FailureListener},
    disk::OsDisk,
};
use rustix::rand::GetRandomFlags;
use serde_json::json;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Logged, SettingsArgs,
    coordinator::{self, Coordinator},
    entrance::{Doors, Entrance, PeerAddress},
    open_files, supervisor,
};
use crate::{
    config::{Config, LiveSettings, live::LoadError},
    http::{Controls, Obey},
    peer::{GreetingProvider, PeerListener, TcpTransport},
    snitch::{self, watch::Watch},
    telemetry::{self, Counters, DiskSpace, LogFilter, StallWatch},
};

/// How often storage is asked whether it still works. Clients get errors from the first moment on; this is how late
/// the process ends.
const HEALTH_INTERVAL: Duration = Duration::from_millis(200);

/// `helenus serve`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus serve --config node.toml --set http.listen=127.0.0.1:8080")]
pub struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Write the bound addresses to this file, as JSON, once requests are taken
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Leave the session, and with it the terminal, of whoever started the process
    #[arg(long, hide = true)]
    new_session: bool,
}

impl Serve {
    /// Runs the node until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, its storage fails, or a second signal cuts its end short.
    pub fn run(self) -> anyhow::Result<()> {
        if self.new_session {
            rustix::process::setsid().context("cannot leave the session")?;
        }
        let (settings, effective) =
            LiveSettings::load(self.settings.sources()).map_err(|error| match error {
                // Whoever prints it knows how.
                LoadError::Wrong(report) => anyhow::Error::from(report),
                LoadError::Damaged(damaged) => damaged.into(),
            })?;
        let mut config = effective.config;
        let log = Arc::new(telemetry::start_logs(config.log.format, &config.log.filter)?);
        tracing::info!(version = telemetry::VERSION, commit = telemetry::COMMIT, "starting");
        open_files::share_out(&mut config);
        let threads = config.request_threads();
        let requests = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("requests")
            .enable_all()
            .build()?;
        // Gossip and probes go on, both ways, while requests keep every other thread busy: a busy node is not taken for
        // dead.
        let membership =
            Builder::new_multi_thread().worker_threads(1).thread_name("membership").enable_all().build()?;
        let spawners =
            Spawners { requests: requests.handle().clone(), membership: membership.handle().clone() };
        let told = Arc::clone(&log);
        requests.spawn({
            let log = Arc::clone(&log);
            async move { log.tell_of_repeats().await }
        });
        let outcome = requests.block_on(serve(&config, spawners, self.ready_file.as_deref(), settings, log));
        requests.shutdown_background();
        membership.shutdown_background();
        let outcome = outcome.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "the node ends");
            Logged.into()
        });
        told.end();
        outcome
    }
}

async fn serve(
    config: &Config,
    spawners: Spawners,
    ready_file: Option<&Path>,
    settings: LiveSettings,
    log: Arc<LogFilter>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let (entrance, peers) = Entrance::open(config).await?;
    let started = tokio::select! {
        biased;
        () = signals.told_to_stop() => None,
        started = RunningNode::start(config, spawners, &entrance, peers) => Some(started?),
    };
    if let Some(node) = &started {
        let obey = node.obey(Arc::clone(&log));
        entrance.api.control(Controls { settings, log, obey });
    }
    let doors = entrance.doors;
    let Some(node) = started else {
        tracing::info!("stopping before the node has started");
        doors.close(config.http.drain_timeout.get()).await;
        return Ok(());
    };
    if let Some(path) = ready_file {
        node.write_ready_file(path, &doors)?;
    }
    supervisor::tell_ready();
    let reason = tokio::select! {
        biased;
        reason = node.broken() => Some(reason),
        () = signals.told_to_stop() => None,
    };
    if let Some(path) = ready_file {
        // The addresses are no longer served; that the file is gone already is fine.
        let _ = fs::remove_file(path);
    }
    if let Some(reason) = reason {
        anyhow::bail!("storage failed, and what it has not synced is unknown until a restart: {reason}");
    }
    supervisor::tell_stopping();
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        biased;
        () = signals.told_to_stop() => anyhow::bail!("a second signal stopped the node at once"),
        stopped = node.stop(doors, config.http.drain_timeout.get()) => stopped?,
    }
    tracing::info!("stopped");
    Ok(())
}

/// A node with everything it stands on.
struct RunningNode {
    engine: Arc<Engine>,
    background: Background,
    node: Arc<Node>,
    transport: Arc<TcpTransport>,
    peers: Arc<PeerListener>,
    /// Where others are told to reach it.
    advertised: String,
    /// Looks at the snitch's file, if it has one.
    watch: Option<JoinHandle<()>>,
    /// Follows how busy the node is.
    load: JoinHandle<()>,
}

impl RunningNode {
    async fn start(
        config: &Config,
        spawners: Spawners,
        entrance: &Entrance,
        peers: PeerAddress,
    ) -> anyhow::Result<Self> {
        let settings = placed(config, config.cluster_settings(peers.address)).await?;
        let advertised = settings.advertise.clone();
        let own = Locality { datacenter: settings.datacenter.clone(), rack: settings.rack.clone() };
        let (engine, background) = open_storage(config).await?;
        entrance.api.starting_for(
            "it asks its seeds for the cluster, or waits for its clock after a quick restart".to_owned(),
        );

        let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
        let seed = random_seed()?;
        let identity = LocalIdentity::load_or_create(&engine, &settings, clock.as_ref(), seed).await?;
        let identity = Arc::new(identity);
        let greeting: GreetingProvider = {
            let identity = Arc::clone(&identity);
            Arc::new(move || identity.greeting())
        };
        let peer_settings = config.peer_settings(random_seed()?);
        let transport =
            Arc::new(TcpTransport::new(Arc::clone(&greeting), peer_settings.clone(), spawners.clone()));
        let answering = spawners.clone();
        let parts = Parts {
            settings,
            identity,
            engine: Arc::clone(&engine),
            transport: Arc::clone(&transport) as _,
            clock,
            seed,
            spawners,
            inline_reads: false,
        };
        // Before the node calls others, which call back at once.
        let socket = peers.listen().context("cannot listen for other nodes")?;
        let watch = Watch::new(config.snitch.kind, config.snitch.file.clone(), &advertised, own)?;
        let node = Node::start(parts).await?;
        engine.set_event_listener(telemetry::log_events(&node));

        let answer = {
            let node = Arc::clone(&node);
            Arc::new(move |request| {
                let node = Arc::clone(&node);
                Box::pin(async move { node.handle(request).await }) as _
            })
        };
        let watch = watch.map(|watch| {
            let node = Arc::clone(&node);
            tokio::spawn(watch.run(config.snitch.poll_interval.get(), move || node.status()))
        });
        let ended = {
            let node = Arc::clone(&node);
            Arc::new(move |host_id| node.on_connection_ended(host_id))
        };
        let peers = PeerListener::start(socket, greeting, answer, ended, &peer_settings, &answering)?;
        let peers = Arc::new(peers);
        // Before the node answers, since the metrics ask then.
        let parts = (Arc::clone(&engine), Arc::clone(&node), Arc::clone(&peers), Arc::clone(&transport));
        let directory = config.node.data_directory.clone();
        entrance.counters.get_or_init(|| {
            let (engine, node, peers, transport) = parts;
            Box::new(move || Counters {
                storage: engine.counters(),
                syncs: Some(engine.sync_durations()),
                node: node.counters(),
                peers: peers.counts(),
                unsent: transport.unsent(),
                replica: Some(node.replica_counters()),
                detector: Some(node.failure_detector()),
                disk: DiskSpace::of(&directory),
            })
        });
        let coordinator = Coordinator {
            node: Arc::clone(&node),
            transport: Arc::clone(&transport),
            peers: Arc::clone(&peers),
            begun: entrance.api.begun(),
            grace: config.http.drain_timeout.get(),
        };
        entrance.api.begin(Arc::new(coordinator));
        tracing::info!(
            host_id = %node.host_id(),
            http = %entrance.doors.clients_address(),
            admin = %entrance.doors.operators_address(),
            peers = %peers.local_address(),
            advertised,
            "serving"
        );
        let load = tokio::spawn(Arc::clone(&entrance.api).watch_load());
        Ok(Self { engine, background, node, transport, peers, advertised, watch, load })
    }

    /// What obeys the settings that change while the node runs.
    fn obey(&self, log: Arc<LogFilter>) -> Obey {
        let node = Arc::clone(&self.node);
        Box::new(move |name, config| match name {
            "coordinator.read_timeout" => node.set_read_timeout(config.coordinator.read_timeout.get()),
            "coordinator.slow_request_threshold" => {
                node.set_slow_request_threshold(config.coordinator.slow_request_threshold.get());
            }
            "coordinator.write_timeout" => node.set_write_timeout(config.coordinator.write_timeout.get()),
            "storage.compaction_throughput" => {
                node.set_compaction_throughput(config.storage.compaction_throughput.bytes());
            }
            _ => {
                if let Err(error) = log.set(&config.log.filter) {
                    tracing::warn!(%error, "the log keeps its filter");
                }
            }
        })
    }

    fn write_ready_file(&self, path: &Path, doors: &Doors) -> anyhow::Result<()> {
        let text = json!({
            "pid": std::process::id(),
            "host_id": self.node.host_id(),
            "http": doors.clients_address(),
            "admin": doors.operators_address(),
            "peer": self.peers.local_address(),
            "advertise": self.advertised,
        });
        // Whoever waits for the file never sees half of it.
        let new = path.with_extension("new");
        fs::write(&new, format!("{text:#}\n"))
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns when storage has failed for good, with the reason. Until then says when it holds writers up.
    async fn broken(&self) -> String {
        let mut interval = tokio::time::interval(HEALTH_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stalls = StallWatch::default();
        loop {
            interval.tick().await;
            let refused = self.engine.counters().writes_refused;
            stalls.look(self.engine.pressure(), refused, Instant::now().into_std());
            if let Some(reason) = self.engine.poisoned() {
                return reason;
            }
        }
    }

    /// Lets what was begun end, in `grace` at most, and makes everything durable.
    async fn stop(self, doors: Doors, grace: Duration) -> anyhow::Result<()> {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        let end = Instant::now() + grace;
        let cut = doors.close(grace).await;
        self.load.abort();
        if cut > 0 {
            tracing::warn!(connections = cut, "connections were cut before their replies were through");
        }
        coordinator::leave(&self.node, &self.peers, &self.transport, end).await;
        let (engine, background) = (self.engine, self.background);
        tokio::task::spawn_blocking(move || {
            engine.hurry();
            // The next start has less to replay. What could not be written is in the log.
            if let Err(error) = flush(&engine) {
                tracing::warn!(%error, "what is in memory could not be written to SSTables");
            }
            // Before the threads: a merge in progress gives up when the engine closes, and would run to its end otherwise.
            let closed = engine.close();
            background.stop();
            closed
        })
        .await?
        .context("cannot close storage")
    }
}

fn flush(engine: &Engine) -> Result<(), helenus_storage::Error> {
    engine.switch_memtables()?;
    while engine.step(Step::Flush)? == StepOutcome::Worked {}
    Ok(())
}

/// The settings, with datacenter and rack as the snitch says.
async fn placed(config: &Config, settings: Settings) -> anyhow::Result<Settings> {
    let (config, advertise) = (config.clone(), settings.advertise.clone());
    let Locality { datacenter, rack } =
        tokio::task::spawn_blocking(move || snitch::locality(&config, &advertise)).await??;
    tracing::info!(datacenter, rack, "where this node stands");
    Ok(Settings { datacenter, rack, ..settings })
}

async fn open_storage(config: &Config) -> anyhow::Result<(Arc<Engine>, Background)> {
    let directory = config.node.data_directory.clone();
    let options = config.storage_options();
    let opened =
        tokio::task::spawn_blocking(move || Engine::open(Arc::new(OsDisk), &directory, options)).await?;
    let engine =
        Arc::new(opened.with_context(|| format!("cannot open {}", config.node.data_directory.display()))?);
    for remark in engine.remarks() {
        tracing::warn!(remark, "storage was opened");
    }
    let background = Background::start_reporting(Arc::clone(&engine), report_failures())
        .context("cannot start the threads of storage")?;
    Ok((engine, background))
}

/// Says what storage could not do. Flushes and merges are tried again, but for an SSTable in which a merge met damage: that is
/// named here and left out from then on.
fn report_failures() -> FailureListener {
    Box::new(|step, error| match step {
        Step::Commit | Step::Sync => {
            tracing::error!(step = step.name(), %error, "storage could not do a piece of work");
        }
        Step::Flush | Step::Compact | Step::Prepare => {
            tracing::warn!(step = step.name(), %error, "storage could not do a piece of work and tries again");
        }
    })
}

/// From the operating system; every start has another.
pub(super) fn random_seed() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    // So few bytes come whole or not at all.
    rustix::rand::getrandom(&mut seed, GetRandomFlags::empty()).context("the system gives no randomness")?;
    Ok(u64::from_le_bytes(seed))
}

/// What the operating system tells the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns at the next SIGTERM or SIGINT.
    async fn told_to_stop(&mut self) {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => tracing::info!("SIGHUP: settings are read at the start only"),
            }
        }
    }
}
