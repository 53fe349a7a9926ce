//! A campaign of simulated clusters, by hand.
//!
//! ```text
//! cargo run --release -p helenus-cluster --features simulation --example simulate -- --seeds 1000 --from 1
//! cargo run --release -p helenus-cluster --features simulation --example simulate -- --seed 17 --verbose
//! ```
//!
//! Exit status 1 on any violation.

#[path = "../tests/simulation/campaign/mod.rs"]
mod campaign;

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Instant,
};

use campaign::{Bounds, Plan, Summary, campaign, describe, explain, marks, run};
use clap::{Parser, ValueEnum};
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use serde_json::json;

/// Seeds that went wrong and are reduced and shown; the others are named.
const EXPLAINED: usize = 3;

/// Runs simulated clusters from seeds and checks every promise.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Mean length of a run, in simulated minutes.
    #[arg(long, default_value_t = 6.0)]
    minutes: f64,
    /// Nodes of each cluster; drawn from the seed (3 to 7) if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=7))]
    nodes: Option<u32>,
    /// Threads to use, each for one seed at a time; all cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Stops at the first violation, and does not reduce it.
    #[arg(long)]
    first: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Runs this seed only, and shows what it is made of.
    #[arg(long, conflicts_with_all = ["seeds", "from", "first"])]
    seed: Option<u64>,
    /// With --seed: prints every event on standard error.
    #[arg(long, requires = "seed")]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bounds = Bounds { minutes: arguments.minutes, nodes: arguments.nodes };
    match arguments.seed {
        Some(seed) => replay(seed, bounds, arguments.verbose),
        None => run_campaign(&arguments, bounds),
    }
}

fn replay(seed: u64, bounds: Bounds, verbose: bool) -> ExitCode {
    let plan = Plan::draw(seed, bounds);
    let run = run(&plan, verbose);
    print!("{}", describe(&plan, &run));
    println!(
        "trace {:016x}: {} events, {} operations, {:.1?} simulated",
        run.trace, run.events, run.operations, run.simulated
    );
    if run.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_campaign(arguments: &Arguments, bounds: Bounds) -> ExitCode {
    let begun = Instant::now();
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let last = arguments.from.saturating_add(arguments.seeds).saturating_sub(1);
    let shows_progress = std::io::stderr().is_terminal();
    let summary = campaign(arguments.from..=last, bounds, threads.unwrap_or(1), |summary, seed, run| {
        if shows_progress {
            progress(summary, arguments.seeds, begun);
        }
        if !run.is_clean() {
            eprintln!("{}seed {seed}: {:?}", if shows_progress { "\n" } else { "" }, run.verdict());
            if arguments.first {
                print(arguments.output, summary, begun);
                std::process::exit(1);
            }
        }
    });
    if shows_progress {
        eprintln!();
    }
    print(arguments.output, &summary, begun);
    for seed in summary.violations.keys().take(EXPLAINED) {
        eprintln!("\n{}", explain(*seed, bounds));
    }
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(output: Output, summary: &Summary, begun: Instant) {
    match output {
        Output::Table => print_table(summary, begun),
        Output::Json => print_json(summary, begun),
    }
}

/// One line that is written over and over.
fn progress(summary: &Summary, seeds: u64, begun: Instant) {
    const WIDTH: u64 = 30;
    let done = (summary.seeds * WIDTH / seeds.max(1)) as usize;
    let bar = "█".repeat(done) + &"·".repeat(WIDTH as usize - done);
    eprint!(
        "\r{bar} {}/{seeds} seeds, {:.1} h simulated, {:.0}×, {} violations ",
        summary.seeds,
        hours(summary),
        speed(summary, begun),
        summary.violations.len()
    );
    // Without it the line would come a line too late; if it fails, only that is lost.
    let _ = std::io::stderr().flush();
}

fn hours(summary: &Summary) -> f64 {
    summary.simulated.as_secs_f64() / 3600.0
}

fn speed(summary: &Summary, begun: Instant) -> f64 {
    summary.simulated.as_secs_f64() / begun.elapsed().as_secs_f64().max(0.001)
}

fn print_table(summary: &Summary, begun: Instant) {
    let all = marks::all();
    let reached = marks::reached();
    let missed: Vec<_> = all.difference(&reached).cloned().collect();
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("seeds", summary.seeds.to_string());
    row("simulated hours", format!("{:.1}", hours(summary)));
    row("simulated time over real time", format!("{:.0}", speed(summary, begun)));
    row("events", summary.events.to_string());
    row("operations checked", summary.operations.to_string());
    for (fault, count) in &summary.counts {
        row(&format!("  {fault}"), count.to_string());
    }
    row("marks reached", format!("{} of {}", reached.len(), all.len()));
    row("violations", summary.violations.len().to_string());
    println!("{table}");
    if !missed.is_empty() {
        println!("marks that no seed reached: {}", missed.join(", "));
    }
}

fn print_json(summary: &Summary, begun: Instant) {
    let violations: BTreeMap<String, _> =
        summary.violations.iter().map(|(seed, verdict)| (seed.to_string(), verdict)).collect();
    let result = json!({
        "seeds": summary.seeds,
        "simulated_hours": hours(summary),
        "speed": speed(summary, begun),
        "events": summary.events,
        "operations_checked": summary.operations,
        "faults": summary.counts,
        "marks_reached": marks::reached(),
        "marks_missed": marks::all().difference(&marks::reached()).collect::<Vec<_>>(),
        "violations": violations,
    });
    println!("{result:#}");
}
