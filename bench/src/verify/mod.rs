//! `helenus-bench verify`: a cluster of real processes is disturbed while clients use it, and what the clients saw is
//! held against the promises.
//!
//! ```text
//!                 workload ─▶ client ══HTTP══▶ nodes ══links (a TCP proxy each)══▶ nodes
//! nemesis (seed) ─▶ disturbance ─ kill, pause, restart ─▶ │ ─ cut, slow ─▶ │
//!                 client, disturbance ─▶ record ─▶ history file ─▶ checkers ─▶ report
//! ```
//!
//! The schedule and the operations come from the seed; what the machine makes of them does not, so a run cannot be
//! repeated exactly. Its history can: it is a file, and is checked from the file even at the end of the run itself.
//! Network namespaces and packet filters were rejected: they need privileges, and a proxy can say what happened.
//!
//! Reading order: `nemesis` plans, `workload` asks, `client` tells outcomes apart, `values` are the bytes, `nodes` and
//! `links` are what can be disturbed, `disturbance` does it, `record` keeps it, `aftermath` is asked in the end, `run` is the
//! whole, `report` prints.

mod aftermath;
mod client;
mod disturbance;
mod links;
mod nemesis;
mod nodes;
mod record;
mod report;
mod run;
mod values;
mod workload;

use std::{
    fs::{self, File},
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum, value_parser};
use helenus_bench::{
    checkers::{self, Checks},
    history::History,
    timeline::{self, Extent},
};

use self::{
    nemesis::{Kind, Terms},
    report::Report,
    run::{Run, Settings},
};
use crate::commands::misused;

/// Arguments of `verify`.
#[derive(Args)]
#[command(before_help = "Example: helenus-bench verify --nodes 5 --duration 10m --seed 1")]
pub(crate) struct Arguments {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(2..=i64::from(nodes::MOST_NODES)))]
    nodes: u32,

    /// How long it is disturbed
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// Every choice comes from it
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Each run makes a directory of its own below it, for data, logs and history
    #[arg(long, default_value = ".helenus-verify")]
    dir: PathBuf,

    /// The program `helenus` [default: beside this program, else on the path]
    #[arg(long)]
    binary: Option<PathBuf>,

    /// What is done to the cluster
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::value_variants().to_vec())]
    faults: Vec<Kind>,

    /// Faults at once; 1 leaves a quorum alive except when all are killed [default: no limit]
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    at_once: Option<u64>,

    /// Clients, each with one operation at a time
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=1000))]
    clients: u32,

    /// Keys that are written again and again
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(1..=100_000))]
    keys: u32,

    /// Operations in a second, of all clients together, at most
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// Where the history goes [default: history.jsonl in the directory of the run]
    #[arg(long)]
    history: Option<PathBuf>,

    /// Check a history that was kept, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["history", "binary"])]
    check: Option<PathBuf>,

    /// Show all operations of a key of the checked history
    #[arg(long, requires = "check")]
    key: Option<String>,

    /// Also insist that quorum reads never go back, which needs read repair
    #[arg(long)]
    monotonic: bool,

    /// How it is told
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs or checks; true if nothing contradicts the promises.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(file) = &arguments.check {
        return judge(misused(open(file))?, file, arguments);
    }
    let binary = misused(nodes::find_binary(arguments.binary.as_deref()))?;
    let directory = arguments.dir.join(format!("seed-{}-{}", arguments.seed, std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let directory = fs::canonicalize(directory)?;
    let file = arguments.history.clone().unwrap_or_else(|| directory.join("history.jsonl"));
    let settings = Settings {
        terms: Terms {
            seed: arguments.seed,
            nodes: arguments.nodes,
            duration: arguments.duration,
            kinds: arguments.faults.clone(),
            at_once: arguments.at_once.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX),
        },
        clients: arguments.clients,
        keys: arguments.keys,
        rate: arguments.rate,
        binary,
        directory: directory.clone(),
        history: file.clone(),
    };
    eprintln!("seed {}, data and logs in {}", arguments.seed, directory.display());
    Run::new(settings)?.execute()?;
    let is_right = judge(open(&file)?, &file, arguments)?;
    if is_right {
        // Logs and history stay; data of a run that found something may be needed.
        nodes::wipe(&directory, arguments.nodes);
    }
    Ok(is_right)
}

fn open(file: &Path) -> anyhow::Result<File> {
    File::open(file).with_context(|| format!("cannot open {}", file.display()))
}

fn judge(input: File, file: &Path, arguments: &Arguments) -> anyhow::Result<bool> {
    let history = History::read(BufReader::new(input)).with_context(|| file.display().to_string())?;
    if let Some(key) = &arguments.key {
        print(&timeline::of_key(&history, key, &[], Extent::All))?;
    }
    let checks = Checks { monotonic: arguments.monotonic, ..Checks::default() };
    let violations = checkers::check(&history, &checks);
    let report = Report { history: &history, violations: &violations, checks: &checks, file };
    match arguments.output {
        Output::Table => print(&report.text())?,
        Output::Json => print(&format!("{:#}", report.json()))?,
    }
    Ok(violations.is_empty())
}

/// To standard output, whose reader may have enough (`| head`): that is an error, no panic.
fn print(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("standard output")
}
