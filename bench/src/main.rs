//! The command `helenus-bench`.

mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests a Helenus cluster from outside.
#[derive(Parser)]
#[command(name = "helenus-bench", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Disturbs a cluster of real processes while clients use it, and proves that no acknowledged write was lost
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    let outcome = match command {
        Command::Verify(arguments) => verify::execute(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("helenus-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
