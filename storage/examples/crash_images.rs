//! A campaign of crash images, by hand.
//!
//! ```text
//! cargo run --release -p helenus-storage --example crash_images -- --images 1000000 --from 1
//! cargo run --release -p helenus-storage --example crash_images -- --seed 17 --fault sync@57 --operation 203
//! ```
//!
//! Exit status 1 on any violation.

#[path = "../tests/crash_images/campaign/mod.rs"]
mod campaign;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Instant,
};

use campaign::{Only, Strike, Summary, Workload, campaign, explore, run};
use clap::{Parser, ValueEnum};
use helenus_storage::disk::Damage;
use serde_json::json;

/// Crashes storage engines at every operation and checks what is left.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many crash images to open.
    #[arg(long, default_value_t = 100_000)]
    images: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads to use, each for one seed at a time; all cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Runs this seed only.
    #[arg(long, conflicts_with_all = ["images", "from"])]
    seed: Option<u64>,
    /// With --seed: the fault that strikes, as sync@57, or no-space@57+ from then on.
    #[arg(long, requires = "seed")]
    fault: Option<Strike>,
    /// With --seed: the operation at which the power is cut.
    #[arg(long, requires = "seed")]
    operation: Option<u64>,
    /// With --operation: the kind of damage, instead of the one that the place draws.
    #[arg(long, requires = "operation", value_parser = damage)]
    damage: Option<Damage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn damage(name: &str) -> Result<Damage, String> {
    let known = Damage::ALL.into_iter().find(|damage| format!("{damage:?}").eq_ignore_ascii_case(name));
    known.ok_or_else(|| format!("not one of {:?}", Damage::ALL))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let summary = match arguments.seed {
        None => run_campaign(&arguments, begun),
        Some(seed) if arguments.fault.is_none() && arguments.operation.is_none() => explore(seed),
        Some(seed) => {
            let only = Only { operation: arguments.operation, damage: arguments.damage };
            let outcome = run(seed, &Workload::draw(seed), arguments.fault, only);
            Summary {
                seeds: 1,
                images: outcome.images,
                violations: outcome.violation.into_iter().collect(),
                ..Summary::default()
            }
        }
    };
    print(arguments.output, &summary, begun);
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_campaign(arguments: &Arguments, begun: Instant) -> Summary {
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let shows_progress = std::io::stderr().is_terminal();
    let summary = campaign(arguments.from, arguments.images, threads.unwrap_or(1), |summary| {
        if shows_progress {
            progress(summary, arguments.images, begun);
        }
    });
    if shows_progress {
        eprintln!();
    }
    summary
}

/// One line that is written over and over.
fn progress(summary: &Summary, images: u64, begun: Instant) {
    const WIDTH: u64 = 30;
    let done = (summary.images * WIDTH / images.max(1)).min(WIDTH) as usize;
    let bar = "█".repeat(done) + &"·".repeat(WIDTH as usize - done);
    let speed = summary.images as f64 / begun.elapsed().as_secs_f64().max(0.001);
    eprint!(
        "\r{bar} {}/{images} images, {speed:.0}/s, {} violations ",
        summary.images,
        summary.violations.len()
    );
    // Without it the line would come a line too late; if it fails, only that is lost.
    let _ = std::io::stderr().flush();
}

fn print(output: Output, summary: &Summary, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    if output == Output::Json {
        let violations: Vec<_> = summary
            .violations
            .iter()
            .map(|(place, what)| json!({ "place": place.to_string(), "what": what }))
            .collect();
        let result = json!({
            "seeds": summary.seeds,
            "images": summary.images,
            "images_in_recovery": summary.in_recovery,
            "faults": summary.faults,
            "operations": summary.operations,
            "durable_writes": summary.durable,
            "seconds": seconds,
            "images_per_second": summary.images as f64 / seconds.max(0.001),
            "violations": violations,
        });
        println!("{result:#}");
        return;
    }
    println!(
        "{} images ({} by crashes in recovery) of {} seeds, {} faults, {} operations, {} durable writes",
        summary.images,
        summary.in_recovery,
        summary.seeds,
        summary.faults,
        summary.operations,
        summary.durable
    );
    println!(
        "{seconds:.1} s, {:.0} images/s, {} violations",
        summary.images as f64 / seconds.max(0.001),
        summary.violations.len()
    );
    for (place, what) in &summary.violations {
        println!("{place}\n    {what}");
    }
}
