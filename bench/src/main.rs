//! The command `helenus-bench`.

mod commands;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use helenus_bench::workload::Phase;

/// Loads, measures and tests a Helenus cluster from outside.
#[derive(Parser)]
#[command(
    name = "helenus-bench",
    version,
    before_help = "Example: helenus-bench load -P config/workloads/workloada -p recordcount=10000"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Inserts a workload's records
    Load(commands::load::Arguments),
    /// Runs a workload's operations and measures them
    Run(commands::load::Arguments),
    /// Shows results that were kept
    Report(commands::report::Arguments),
    /// Puts the same load on several targets in turn
    Compare(commands::compare::Arguments),
    /// Disturbs a cluster of real processes while clients use it, and proves that no acknowledged write was lost
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse_from(commands::habits::translate(std::env::args_os()));
    let outcome = match command {
        Command::Load(arguments) => commands::load::execute(&arguments, Phase::Load),
        Command::Run(arguments) => commands::load::execute(&arguments, Phase::Run),
        Command::Report(arguments) => commands::report::execute(&arguments),
        Command::Compare(arguments) => commands::compare::execute(&arguments),
        Command::Verify(arguments) => verify::execute(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("helenus-bench: {error:#}");
            if error.is::<commands::Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
