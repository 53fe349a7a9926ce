//! The command line: what `helenus` can be asked to do.
//!
//! Standard output is for answers, standard error for everything else. The exit status is 0 only on success, 1 when
//! something failed and 2 when the program was used wrongly.
//!
//! Reading order: [`serve`] is the node itself, `entrance` what answers before it, `supervisor` who started it; [`local`]
//! runs several of them on this machine; [`client`], [`scan`], [`table`] and [`admin`] talk to one over HTTP ([`endpoint`]);
//! [`inspect`] looks into its files; [`config`] explains settings; [`papers`] writes all of it down; [`output`] is how answers
//! look.

pub mod admin;
pub mod client;
pub mod config;
mod coordinator;
pub mod endpoint;
mod entrance;
pub mod inspect;
pub mod local;
mod open_files;
pub mod output;
pub mod papers;
pub mod scan;
pub mod serve;
mod supervisor;
pub mod table;

use std::{ffi::OsString, fmt, io, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::config::{Effective, Report, Sources};

/// A consistent-hash ring of nodes that store keys and values.
#[derive(Debug, Parser)]
#[command(
    name = "helenus",
    version,
    propagate_version = true,
    // Without a terminal it would be a hundred, and on a wide one as wide.
    max_term_width = 80,
    before_help = "Example: helenus local up && helenus put default key --value hello"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node in the foreground; SIGTERM and SIGINT drain and stop it, a second one stops it at once
    Serve(serve::Serve),
    /// Explain settings
    #[command(subcommand, before_help = "Example: helenus config check --config config/node.toml")]
    Config(config::Command),
    /// Run a cluster of real processes on this machine
    Local(local::Local),
    /// Read a value, to standard output
    Get(client::Get),
    /// Write a value, from standard input or --value
    Put(client::Put),
    /// Delete a key
    Delete(client::Delete),
    /// List keys and values of a table, in the order of the cluster
    Scan(scan::Scan),
    /// Create, look at, change and drop tables
    #[command(subcommand)]
    Table(table::Command),
    /// Look at a running cluster, and look after its nodes
    #[command(subcommand, before_help = "Example: helenus admin status")]
    Admin(admin::Command),
    /// Look into the files of a node, which may be running or not
    #[command(subcommand, before_help = "Example: helenus inspect data-dir .helenus/node1/data")]
    Inspect(inspect::Command),
    /// Print the completions of a shell
    Completions(papers::Completions),
    /// Write the manual pages
    Man(papers::Pages),
}

/// The program was used wrongly.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Something failed, and the log says what.
#[derive(Debug)]
pub struct Logged;

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see the log")
    }
}

impl std::error::Error for Logged {}

/// Where the settings of a node come from.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// File of settings (see config/node.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// One setting; wins over file and environment
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = setting)]
    set: Vec<String>,
}

impl SettingsArgs {
    fn load(&self) -> Result<Effective, Report> {
        Effective::load(&self.sources())
    }

    fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            overrides: self.set.clone(),
        }
    }
}

/// An argument of `--set`.
fn setting(text: &str) -> Result<String, String> {
    let is_setting = text.split_once('=').is_some_and(|(name, _)| name.contains('.'));
    if is_setting { Ok(text.to_owned()) } else { Err("write section.key=value".to_owned()) }
}

/// Runs the program with its arguments, its own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell whoever cannot be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Serve(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Local(command) => command.run(),
        Command::Get(command) => command.run(),
        Command::Put(command) => command.run(),
        Command::Delete(command) => command.run(),
        Command::Scan(command) => command.run(),
        Command::Table(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our answer, such as `head`, has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error and chooses the exit status.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(report) = error.downcast_ref::<Report>() {
        output::coloured(&report.render(output::colours_on_standard_error()));
        return ExitCode::from(if report.is_usage_error() { 2 } else { 1 });
    }
    if error.is::<Logged>() {
        return ExitCode::FAILURE;
    }
    output::error(&format!("error: {error:#}"));
    if !error.is::<Usage>() {
        return ExitCode::FAILURE;
    }
    output::note("\nFor more information, try '--help'.");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What is wrong with the help of a command and of those below it.
    fn flaws(command: &mut clap::Command, name: &str, found: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        let mut lines = help.lines();
        let example = lines.next().unwrap_or_default();
        // An example that is wrapped is none to copy.
        if !example.starts_with("Example: ") || !example.contains("helenus ") || lines.next() != Some("") {
            found.push(format!("{name} does not open with an example in one line: {example}"));
        }
        let wide = help.lines().filter(|line| line.chars().count() > 80);
        found.extend(wide.map(|line| format!("{name} is wider than 80 columns: {line}")));
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            let name = format!("{name} {}", below.get_name());
            flaws(below, &name, found);
        }
    }

    #[test]
    fn the_help_of_each_command_opens_with_an_example_and_fits_eighty_columns() {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        flaws(&mut command, "helenus", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}
