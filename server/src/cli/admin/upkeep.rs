//! `helenus admin flush|compact|scrub|drain|snapshot`: one node's own storage.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::Method;

use super::{
    super::{
        client::table_name,
        endpoint::{self, EndpointArgs},
        output::{self, Format, FormatArgs},
    },
    tasks::{Begin, How, Task},
};

/// Dropping many hints, or a large snapshot, takes long.
pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// `helenus admin flush` and `compact`.
#[derive(Debug, clap::Args)]
pub struct OfTables {
    /// Name of the table; all tables without one
    #[arg(value_parser = table_name)]
    table: Option<String>,
    #[command(flatten)]
    begin: Begin,
}

/// `helenus admin drain`.
#[derive(Debug, clap::Args)]
pub struct Drain {
    #[command(flatten)]
    begin: Begin,
}

/// `helenus admin scrub`.
#[derive(Debug, clap::Args)]
pub struct Scrub {
    /// MiB to read in a second at most
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    mib_per_second: u64,
    #[command(flatten)]
    begin: Begin,
}

/// What a scrub has found.
#[derive(Debug, Default, Deserialize)]
struct Scrubbed {
    tables: u64,
    bytes: u64,
    damages: u64,
    first_damages: Vec<String>,
}

/// `helenus admin snapshot`.
#[derive(Debug, clap::Subcommand)]
#[command(before_help = "Example: helenus admin snapshot create before-upgrade")]
pub enum Snapshot {
    /// Make one of all tables
    #[command(before_help = "Example: helenus admin snapshot create before-upgrade")]
    Create {
        /// Its name: letters, digits, '-', '_' and dots
        #[arg(value_parser = snapshot_name)]
        name: String,
        /// How.
        #[command(flatten)]
        begin: Begin,
    },
    /// List them
    #[command(before_help = "Example: helenus admin snapshot list")]
    List {
        /// Which node.
        #[command(flatten)]
        endpoint: EndpointArgs,
        /// In which form.
        #[command(flatten)]
        output: FormatArgs,
    },
    /// Remove one
    #[command(before_help = "Example: helenus admin snapshot clear before-upgrade")]
    Clear {
        /// Its name
        #[arg(value_parser = snapshot_name)]
        name: String,
        /// Where.
        #[command(flatten)]
        how: How,
    },
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
        let what =
            self.table.as_ref().map_or_else(|| "all tables".to_owned(), |table| format!("table {table}"));
        self.begin.run(&format!("/admin/v1/{verb}{query}"), |_| format!("{done} {what}"))
    }
}

impl Drain {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let said =
            "drained: the node takes no more requests, and all it holds is in SSTables; it can be stopped";
        self.begin.run("/admin/v1/drain", |_| said.to_owned())
    }
}

impl Scrub {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let path = format!("/admin/v1/scrub?mib_per_second={}", self.mib_per_second);
        self.begin.run_checked(&path, verified)
    }
}

/// What is said of a scrub that is done.
///
/// # Errors
/// If it has found damage; each place is shown.
pub(super) fn verified(task: &Task) -> anyhow::Result<String> {
    let scrubbed: Scrubbed = serde_json::from_value(task.result.clone().unwrap_or_default())?;
    scrubbed.first_damages.iter().for_each(|damage| output::error(damage));
    anyhow::ensure!(
        scrubbed.damages == 0,
        "{} {} damaged",
        output::counted(scrubbed.damages, "place"),
        output::is_or_are(scrubbed.damages)
    );
    let size = bytesize::ByteSize(scrubbed.bytes);
    Ok(format!("verified {}, {size}", output::counted(scrubbed.tables, "SSTable")))
}

impl Snapshot {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Create { name, begin } => begin.run(&path_of(name), |task| {
                let made = task.result.clone().unwrap_or_default();
                format!("made snapshot {name}: {}", made["directory"].as_str().unwrap_or_default())
            }),
            Self::Clear { name, how } => {
                let endpoint = &how.endpoint.endpoint;
                let answer = endpoint::ask(&Method::DELETE, endpoint, &path_of(name), PATIENCE)?;
                how.answer(&answer, &format!("removed snapshot {name}"))
            }
            Self::List { endpoint, output } => {
                let reply = endpoint::get_json(&endpoint.endpoint, "/admin/v1/snapshots")?;
                if output.format == Format::Json {
                    return Ok(output::answer_json(&reply)?);
                }
                let snapshots = reply["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
                if snapshots.is_empty() {
                    return Ok(output::answer("no snapshots")?);
                }
                let rows: Vec<_> = snapshots.iter().map(row).collect();
                let header = ["NAME", "SSTABLES", "SIZE", "DIRECTORY"];
                Ok(output::answer(&output::table_of_names(header, rows, &[0, 3]))?)
            }
        }
    }
}

fn path_of(name: &str) -> String {
    format!("/admin/v1/snapshots/{name}")
}

fn row(snapshot: &serde_json::Value) -> [String; 4] {
    let text = |field: &str| snapshot[field].as_str().unwrap_or_default().to_owned();
    let bytes = snapshot["bytes"].as_u64().unwrap_or_default();
    [text("name"), snapshot["tables"].to_string(), bytesize::ByteSize(bytes).to_string(), text("directory")]
}
