//! Engines side by side: see README.md.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement that fails ends"
)]

mod engine;
mod machine;
mod measure;
mod report;
mod workload;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::{Parser, ValueEnum};
use engine::Kind;
use measure::{Figure, Group, Row, Task, cleared};
use report::{Format, Report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures storage engines under one workload, in turns
#[derive(Debug, Parser)]
#[command(
    before_help = "Example: cargo run --release -- --engines helenus,fjall,rocksdb --values 100 --repeats 3"
)]
struct Arguments {
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["helenus", "rocksdb", "fjall", "redb", "skiplist"])]
    engines: Vec<Kind>,
    /// What is measured [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Small and short, to see that it runs: 100,000 entries of 100 B once, phases of 0.3 s
    #[arg(long)]
    quick: bool,
    /// Entries
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Sizes of values
    #[arg(long, value_delimiter = ',', default_values = ["100", "1024"])]
    values: Vec<usize>,
    #[arg(long, default_value_t = 3)]
    repeats: u64,
    /// Length of a timed phase
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Where data goes [default: a temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[arg(short = 'o', long = "output", value_enum, default_value = "table")]
    format: Format,
    /// A task of the program itself
    #[arg(long, hide = true)]
    task: Option<String>,
}

fn main() {
    let mut arguments = Arguments::parse();
    if let Some(task) = &arguments.task {
        return measure::run(&serde_json::from_str(task).unwrap());
    }
    if arguments.rows.is_empty() {
        arguments.rows = Row::value_variants().to_vec();
    }
    if arguments.quick {
        (arguments.count, arguments.repeats, arguments.seconds) = (100_000, 1, 0.3);
        arguments.values = vec![100];
    }
    let temporary = tempfile::tempdir().unwrap();
    let directory = arguments.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut reports = Vec::new();
    for &value_bytes in &arguments.values {
        let mut report = Report::new(arguments.count, value_bytes, arguments.engines.clone());
        for repeat in 0..arguments.repeats {
            let mut engines = arguments.engines.clone();
            engines.rotate_left(repeat as usize % arguments.engines.len());
            for kind in engines {
                for figure in one_turn(&arguments, kind, value_bytes, repeat, &directory.join(kind.name())) {
                    report.add(kind, figure);
                }
            }
        }
        reports.push(report);
    }
    report::print(&reports, arguments.format);
}

/// All groups of one engine, in the order in which one uses what another left.
fn one_turn(
    arguments: &Arguments,
    kind: Kind,
    value_bytes: usize,
    repeat: u64,
    directory: &PathBuf,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    let has = |group| arguments.rows.iter().any(|row| row.group() == group);
    let task = |group| Task {
        kind,
        group,
        rows: arguments.rows.clone(),
        directory: directory.clone(),
        count: arguments.count,
        value_bytes,
        seconds: arguments.seconds,
        seed: repeat + 1,
    };
    if has(Group::Load2) {
        cleared(directory);
        figures.extend(child(&task(Group::Load2)));
    }
    if has(Group::Sync) && kind.is_persistent() {
        cleared(directory);
        figures.extend(child(&task(Group::Sync)));
    }
    // Its entries are of 100 bytes whatever was asked for.
    if has(Group::Open) && kind.is_persistent() && value_bytes == arguments.values[0] {
        cleared(directory);
        child(&task(Group::Fill));
        figures.extend(child(&task(Group::Open)));
    }
    if has(Group::Load) || (has(Group::Read) && kind.is_persistent()) {
        cleared(directory);
        let loaded = child(&task(Group::Load));
        if has(Group::Load) {
            figures.extend(loaded);
        }
    }
    if has(Group::Read) {
        figures.extend(child(&task(Group::Read)));
    }
    cleared(directory);
    figures
}

/// Runs a task in a process of its own.
fn child(task: &Task) -> Vec<Figure> {
    eprintln!("{} {:?} {} B", task.kind.name(), task.group, task.value_bytes);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--task", &serde_json::to_string(task).unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let figures = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let status = child.wait().unwrap();
    assert!(status.success() || task.group == Group::Fill, "{task:?}: {status}");
    figures
}
