//! `helenus-bench load` and `run`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use clap::{Args, ValueEnum};
use helenus_bench::{
    client::{Endpoint, Protocol},
    history::Level,
    load::{self, Plan, Routing, Target},
    measurement::RunResult,
    properties::Properties,
    report::Intervals,
    workload::{Phase, Workload},
};

use super::{halfway::Halfway, interrupt::Interrupt, misused, output::Output, progress::Observer};

/// What a load is made of.
#[derive(Args, Clone)]
pub(crate) struct Load {
    /// A YCSB property file; later ones override earlier ones
    #[arg(short = 'P', value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A property; overrides all files
    #[arg(short = 'p', value_name = "NAME=VALUE")]
    properties: Vec<String>,

    /// Clients, each with a connection and one operation at a time [default: property threadcount, else 16]
    #[arg(long)]
    pub(super) threads: Option<usize>,

    /// Operations in a second, of all clients together, due at fixed times; none is a closed loop [default: property target]
    #[arg(long)]
    target: Option<f64>,

    /// How long it takes, rather than operationcount
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(super) duration: Option<Duration>,

    /// Left out of the measurement before it begins
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    warmup: Duration,

    /// How long a client waits for an answer
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Threads that the clients share [default: half of the processors]
    #[arg(long)]
    workers: Option<usize>,

    /// How clients choose among the endpoints: each goes to a replica of the key, or keeps to one endpoint [default:
    /// property helenus.routing, else round-robin]
    #[arg(long, value_enum)]
    routing: Option<RoutingFlag>,

    /// Of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Arguments of `load` and `run`.
#[derive(Args)]
#[command(before_help = "Example: helenus-bench load -P config/workloads/workloada\n         \
                         helenus-bench run -P config/workloads/workloada --duration 60s --warmup 10s --report run.html")]
pub(crate) struct Arguments {
    #[command(flatten)]
    load: Load,

    /// Servers, to which clients are spread evenly [default: property helenus.endpoints, else HELENUS_ENDPOINT, else node 1
    /// of a local cluster]
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    endpoints: Vec<String>,

    /// The consistency level [default: property helenus.consistency, else the table's]
    #[arg(long)]
    consistency: Option<String>,

    /// The servers' language
    #[arg(long, value_enum, default_value_t = Language::Helenus)]
    protocol: Language,

    /// When the servers make writes durable, for the report: they do not tell
    #[arg(long, value_name = "MODE")]
    sync_mode: Option<String>,

    /// A command for the shell, run when half of --duration is over, such as one that kills a node
    #[arg(long, value_name = "COMMAND", requires = "duration")]
    halfway: Option<String>,

    /// A name for the run, for the report
    #[arg(short, long)]
    label: Option<String>,

    #[command(flatten)]
    output: Output,
}

/// `--routing`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoutingFlag {
    RoundRobin,
    TokenAware,
}

impl From<RoutingFlag> for Routing {
    fn from(flag: RoutingFlag) -> Self {
        match flag {
            RoutingFlag::RoundRobin => Self::RoundRobin,
            RoutingFlag::TokenAware => Self::TokenAware,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Helenus,
    Etcd,
}

/// What answers, by which name, in which language.
pub(super) struct Servers {
    pub(super) endpoints: Vec<String>,
    pub(super) protocol: Protocol,
    pub(super) sync_mode: Option<String>,
    pub(super) label: Option<String>,
    /// What is done to them in the middle of the run.
    pub(super) halfway: Option<String>,
}

/// Loads or runs; true if anything succeeded, every record of a load, and every check of a value that was read.
pub(crate) fn execute(arguments: &Arguments, phase: Phase) -> anyhow::Result<bool> {
    let properties = misused(arguments.load.properties())?;
    let unknown: Vec<String> = properties.unknown().collect();
    if !unknown.is_empty() {
        eprintln!("ignored, as nothing here knows them: {}", unknown.join(", "));
    }
    if let Some(other) = properties.text("measurementtype").filter(|kind| *kind != "hdrhistogram") {
        eprintln!(
            "measurementtype={other} is ignored: latencies are measured as by hdrhistogram, the only one there is here"
        );
    }
    let output = misused(arguments.output.check(&properties))?;
    let table = properties.text("table").unwrap_or("usertable").to_owned();
    let consistency =
        arguments.consistency.clone().or_else(|| properties.text("helenus.consistency").map(str::to_owned));
    if let Some(level) = &consistency {
        misused(level.to_ascii_lowercase().parse::<Level>().map_err(|what| anyhow!("consistency: {what}")))?;
    }
    let servers = Servers {
        endpoints: arguments.endpoints(&properties),
        protocol: match arguments.protocol {
            Language::Helenus => Protocol::Helenus { table, consistency },
            Language::Etcd => Protocol::Etcd,
        },
        sync_mode: arguments.sync_mode.clone(),
        label: arguments.label.clone().or_else(|| properties.text("label").map(str::to_owned)),
        halfway: arguments.halfway.clone(),
    };
    let interrupt = Interrupt::listen().context("signals")?;
    let mut observer = output.observer(phase)?;
    let run = arguments.load.carry_out(&properties, phase, servers, &mut observer, &interrupt)?;
    observer.finish()?;
    output.tell(&run)?;
    Ok(run.succeeded > 0
        && run.wrong_values() == 0
        && (phase == Phase::Run || run.failed == 0)
        && !interrupt.is_set())
}

impl Arguments {
    fn endpoints(&self, properties: &Properties) -> Vec<String> {
        if !self.endpoints.is_empty() {
            return self.endpoints.clone();
        }
        let configured = properties.text("helenus.endpoints").map(str::to_owned);
        let configured = configured.or_else(|| std::env::var("HELENUS_ENDPOINT").ok());
        let configured = configured.unwrap_or_else(|| "http://127.0.0.1:7071".to_owned());
        configured.split(',').map(|endpoint| endpoint.trim().to_owned()).collect()
    }
}

/// A bound on what a slip of the pen can ask for.
const MOST_CLIENTS: usize = 100_000;

impl Load {
    pub(super) fn properties(&self) -> anyhow::Result<Properties> {
        Ok(Properties::read(&self.files, &self.properties)?)
    }

    /// Whether both phases can be carried out, whoever the servers are.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let properties = self.properties()?;
        let workload = Arc::new(Workload::new(&properties)?);
        let nobody: Arc<[Endpoint]> = Arc::default();
        self.without_pace().plan(
            &properties,
            Phase::Load,
            Arc::clone(&workload),
            &Protocol::Etcd,
            Arc::clone(&nobody),
        )?;
        self.plan(&properties, Phase::Run, workload, &Protocol::Etcd, nobody).map(drop)
    }

    /// The same, as fast as it goes and to its end: for inserting what is needed.
    pub(super) fn without_pace(&self) -> Self {
        Self { target: Some(0.0), duration: None, warmup: Duration::ZERO, ..self.clone() }
    }

    /// Carries out a phase.
    pub(super) fn carry_out(
        &self,
        properties: &Properties,
        phase: Phase,
        servers: Servers,
        observer: &mut Observer,
        interrupt: &Interrupt,
    ) -> anyhow::Result<RunResult> {
        let workload = Arc::new(misused(Workload::new(properties).map_err(Into::into))?);
        let resolved: Result<Arc<[Endpoint]>, _> =
            servers.endpoints.iter().map(|text| Endpoint::resolve(text)).collect();
        let endpoints = misused(resolved.map_err(Into::into))?;
        let words = [("round-robin", Routing::RoundRobin), ("token-aware", Routing::TokenAware)];
        let configured =
            misused(properties.choice("helenus.routing", Routing::RoundRobin, &words).map_err(Into::into))?;
        let routing = self.routing.map_or(configured, Into::into);
        // Before any server is asked: a slip of the pen is one whoever is there.
        let mut plan = misused(self.plan(properties, phase, workload, &servers.protocol, endpoints))?;
        let mut target = Target::prepare(&servers.endpoints, &servers.protocol, routing)?;
        for note in &target.notes {
            eprintln!("{note}");
        }
        target.server.sync_mode = servers.sync_mode;
        plan.protocol = Arc::new(match servers.protocol {
            Protocol::Helenus { consistency, .. } => {
                Protocol::Helenus { table: target.table.clone(), consistency }
            }
            Protocol::Etcd => Protocol::Etcd,
        });
        plan.routes.clone_from(&target.routes);
        plan.interrupt = interrupt.flag();
        let mut settings = plan.settings(&target.table);
        settings.label = servers.label;
        settings.properties =
            properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        observer.begin(&plan);
        let halfway = servers.halfway.as_deref().zip(plan.duration);
        let halfway = halfway
            .map(|(command, duration)| Halfway::schedule(command, plan.warmup, duration))
            .transpose()?;
        let run = load::run(&plan, &target, settings, |progress| observer.observe(progress));
        let mut run = run.context("the load generator")?;
        run.events.extend(halfway.and_then(Halfway::finish));
        for event in run.events.iter().filter(|event| !event.succeeded) {
            run.generator.warnings.push(format!("the command half-way failed: {}", event.command));
        }
        if let wrong @ 1.. = run.wrong_values() {
            let warning = format!("{wrong} of the values that were read are not those that were written");
            run.generator.warnings.push(warning);
        }
        if interrupt.is_set() {
            run.generator.warnings.insert(0, "the run was interrupted".to_owned());
        }
        Ok(run)
    }

    fn plan(
        &self,
        properties: &Properties,
        phase: Phase,
        workload: Arc<Workload>,
        protocol: &Protocol,
        endpoints: Arc<[Endpoint]>,
    ) -> anyhow::Result<Plan> {
        let clients = match self.threads {
            Some(clients) => clients,
            None => properties.get("threadcount", 16, "a number of clients")?,
        };
        ensure!((1..=MOST_CLIENTS).contains(&clients), "{clients} clients: expected 1 to {MOST_CLIENTS}");
        let target = match self.target {
            Some(target) => target,
            None => properties.get("target", 0.0, "operations in a second")?,
        };
        ensure!(
            (0.0..=1e9).contains(&target),
            "target {target}: expected operations in a second, 0 for no limit"
        );
        ensure!(phase == Phase::Run || self.warmup.is_zero(), "a load has no --warmup: every record counts");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.unwrap_or((processors / 2).max(1));
        ensure!((1..=1_024).contains(&workers), "{workers} workers: expected 1 to 1024");
        let most_seconds: Option<u32> = properties.optional("maxexecutiontime", "a number of seconds")?;
        let most_seconds = most_seconds.filter(|&seconds| seconds > 0);
        let operations = match (phase, self.duration) {
            (Phase::Load, _) => Some(workload.insert_count),
            (Phase::Run, Some(_)) => None,
            (Phase::Run, None) => workload.operation_count,
        };
        let duration = self.duration.or(most_seconds.map(|seconds| Duration::from_secs(seconds.into())));
        ensure!(
            operations.is_some() || duration.is_some(),
            "nothing ends the run: give --duration, or property operationcount"
        );
        ensure!(!self.timeout.is_zero(), "--timeout must be above 0");
        ensure!(self.duration.is_none_or(|duration| !duration.is_zero()), "--duration must be above 0");
        Ok(Plan {
            phase,
            workload,
            protocol: Arc::new(protocol.clone()),
            endpoints,
            routes: None,
            clients,
            threads: workers,
            target: (target > 0.0).then_some(target),
            operations,
            duration,
            warmup: self.warmup,
            timeout: self.timeout,
            seed: self.seed,
            interrupt: Arc::default(),
        })
    }
}

/// `--interval`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum IntervalFlag {
    Op,
    Intended,
    Both,
}

impl From<IntervalFlag> for Intervals {
    fn from(flag: IntervalFlag) -> Self {
        match flag {
            IntervalFlag::Op => Self::Operation,
            IntervalFlag::Intended => Self::Intended,
            IntervalFlag::Both => Self::Both,
        }
    }
}
