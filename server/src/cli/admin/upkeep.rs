//! `helenus admin flush|compact|scrub|snapshot`: one node's own storage.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::Method;

use super::super::{
    client::table_name,
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs},
};

/// Merging all of a large table takes long; the node goes on whether we wait or not.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// `helenus admin flush` and `compact`.
#[derive(Debug, clap::Args)]
pub struct OfTables {
    /// Name of the table; all tables without one
    #[arg(value_parser = table_name)]
    table: Option<String>,
    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// `helenus admin scrub`.
#[derive(Debug, clap::Args)]
pub struct Scrub {
    /// MiB to read in a second at most
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    mib_per_second: u64,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    output: FormatArgs,
}

/// The answer of `/admin/v1/scrub`.
#[derive(Debug, Deserialize)]
struct Scrubbed {
    tables: u64,
    bytes: u64,
    damages: u64,
    first_damages: Vec<String>,
    cancelled: bool,
}

/// `helenus admin snapshot`.
#[derive(Debug, clap::Subcommand)]
#[command(
    before_help = "Example: helenus admin snapshot create before-upgrade && helenus admin snapshot list"
)]
pub enum Snapshot {
    /// Make one of all tables
    Create(Named),
    /// List them
    List {
        /// Which node.
        #[command(flatten)]
        endpoint: EndpointArgs,
        /// In which form.
        #[command(flatten)]
        output: FormatArgs,
    },
    /// Remove one
    Clear(Named),
}

/// A snapshot and where it is.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Its name: letters, digits, '-', '_' and dots
    #[arg(value_parser = snapshot_name)]
    name: String,
    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// What can be put into a path as it is; the rest of the rule is the node's.
fn snapshot_name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.chars().all(is_fine) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("a snapshot's name is letters, digits, '-', '_' and dots, no dot first".to_owned())
    }
}

impl OfTables {
    pub(super) fn run(&self, verb: &str, done: &str) -> anyhow::Result<()> {
        let query = self.table.as_ref().map(|table| format!("?table={table}")).unwrap_or_default();
        let path = format!("/admin/v1/{verb}{query}");
        endpoint::ask(&Method::POST, &self.endpoint.endpoint, &path, PATIENCE)?;
        let what =
            self.table.as_ref().map_or_else(|| "all tables".to_owned(), |table| format!("table {table}"));
        Ok(output::answer(&format!("{done} {what}"))?)
    }
}

impl Scrub {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let path = format!("/admin/v1/scrub?mib_per_second={}", self.mib_per_second);
        let answer = endpoint::ask(&Method::POST, &self.endpoint.endpoint, &path, PATIENCE)?;
        let scrubbed: Scrubbed = serde_json::from_value(answer.clone())?;
        match self.output.format {
            Format::Json => output::answer_json(&answer)?,
            Format::Table => {
                let size = bytesize::ByteSize(scrubbed.bytes);
                let said = if scrubbed.cancelled { "read" } else { "verified all" };
                output::answer(&format!("{said} {} SSTables, {size}", scrubbed.tables))?;
            }
        }
        scrubbed.first_damages.iter().for_each(|damage| output::error(damage));
        anyhow::ensure!(scrubbed.damages == 0, "{} places are damaged", scrubbed.damages);
        anyhow::ensure!(!scrubbed.cancelled, "the node stopped before all was read");
        Ok(())
    }
}

impl Snapshot {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Create(named) => {
                let made = named.ask(&Method::POST)?;
                let directory = made["directory"].as_str().unwrap_or_default();
                Ok(output::answer(&format!("made snapshot {}: {directory}", named.name))?)
            }
            Self::Clear(named) => {
                named.ask(&Method::DELETE)?;
                Ok(output::answer(&format!("removed snapshot {}", named.name))?)
            }
            Self::List { endpoint, output } => {
                let reply = endpoint::get_json(&endpoint.endpoint, "/admin/v1/snapshots")?;
                if output.format == Format::Json {
                    return Ok(output::answer_json(&reply)?);
                }
                let snapshots = reply["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
                let rows: Vec<_> = snapshots.iter().map(row).collect();
                Ok(output::answer(&output::table(["NAME", "SSTABLES", "SIZE", "DIRECTORY"], &rows))?)
            }
        }
    }
}

impl Named {
    fn ask(&self, method: &Method) -> anyhow::Result<serde_json::Value> {
        let path = format!("/admin/v1/snapshots/{}", self.name);
        endpoint::ask(method, &self.endpoint.endpoint, &path, PATIENCE)
    }
}

fn row(snapshot: &serde_json::Value) -> [String; 4] {
    let text = |field: &str| snapshot[field].as_str().unwrap_or_default().to_owned();
    let bytes = snapshot["bytes"].as_u64().unwrap_or_default();
    [text("name"), snapshot["tables"].to_string(), bytesize::ByteSize(bytes).to_string(), text("directory")]
}
