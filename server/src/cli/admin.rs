//! `helenus admin`: a running cluster as one of its nodes sees it.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdin},
};

use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    Usage,
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs},
};

mod compaction_stats;
mod describe_cluster;
mod failure_detector;
mod gossip_info;
mod handoff;
mod histograms;
mod info;
mod ring;
mod settings;
mod status;
mod table_stats;
mod tasks;
mod upkeep;

/// Which node is asked, and in which form its answer is shown.
#[derive(Debug, clap::Args)]
pub struct Asked {
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    output: FormatArgs,
}

/// The subcommands of `admin`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the nodes that hold the replicas of a key, one address a line, the owner of its token first
    #[command(before_help = "Example: helenus admin endpoints default greeting")]
    Endpoints {
        /// Name of the table
        #[arg(value_parser = super::client::table_name)]
        table: String,
        /// The key, any bytes
        #[arg(value_parser = clap::builder::ValueParser::os_string())]
        key: OsString,
        /// Which node, and in which form.
        #[command(flatten)]
        asked: Asked,
    },
    /// List the members of the cluster: up or down, normal or joining, and what they hold
    #[command(before_help = "Example: helenus admin status --endpoint http://127.0.0.1:7072")]
    Status(Asked),
    /// List all tokens in ring order, whose they are and how much each node owns
    #[command(before_help = "Example: helenus admin ring --table default")]
    Ring {
        /// Count the replicas of this table as owned
        #[arg(long, value_parser = super::client::table_name)]
        table: Option<String>,
        /// Which node, and in which form.
        #[command(flatten)]
        asked: Asked,
    },
    /// Show one node: its load, memory, caches, clock and requests
    #[command(before_help = "Example: helenus admin info -T")]
    Info {
        /// Show all its tokens
        #[arg(short = 'T', long)]
        tokens: bool,
        /// Which node, and in which form.
        #[command(flatten)]
        asked: Asked,
    },
    /// Show the cluster: its name, schema versions, datacenters, racks and tables
    #[command(before_help = "Example: helenus admin describe-cluster")]
    DescribeCluster(Asked),
    /// Show what every member says of itself, as far as the node has heard
    #[command(before_help = "Example: helenus admin gossip-info")]
    GossipInfo(Asked),
    /// Show whom the node takes for alive, unreachable, suspected or dead, and why
    #[command(before_help = "Example: helenus admin failure-detector")]
    FailureDetector(Asked),
    /// Show what the node stores of each table, and what its own reads and writes of it take
    #[command(before_help = "Example: helenus admin table-stats users")]
    TableStats {
        /// Name of the table; all tables without one
        #[arg(value_parser = super::client::table_name)]
        table: Option<String>,
        /// Which node, and in which form.
        #[command(flatten)]
        asked: Asked,
    },
    /// Show which merges of SSTables are under way, how far they are and what waits
    #[command(before_help = "Example: helenus admin compaction-stats")]
    CompactionStats(Asked),
    /// Show how long the requests of clients take, or with a table the node's own reads and writes
    #[command(before_help = "Example: helenus admin histograms users")]
    Histograms {
        /// Name of the table, for what the node does as a replica
        #[arg(value_parser = super::client::table_name)]
        table: Option<String>,
        /// Which node, and in which form.
        #[command(flatten)]
        asked: Asked,
    },
    /// List, watch and cancel what takes long
    #[command(subcommand)]
    Tasks(tasks::Tasks),
    /// List and change settings of a running node
    #[command(subcommand)]
    Settings(settings::Settings),
    /// Change what the log of a running node shows, until it stops
    #[command(before_help = "Example: helenus admin set-log-level debug --target helenus_cluster")]
    SetLogLevel(settings::SetLogLevel),
    /// Take no more requests, finish those under way and write everything to SSTables; then the node can be stopped
    #[command(before_help = "Example: helenus admin drain && helenus local down")]
    Drain(upkeep::Drain),
    /// Write what is in memory to SSTables; returns when that is done
    #[command(before_help = "Example: helenus admin flush users")]
    Flush(upkeep::OfTables),
    /// Merge the SSTables of a table into as few as there can be; returns when that is done
    #[command(before_help = "Example: helenus admin compact users")]
    Compact(upkeep::OfTables),
    /// Read all SSTables and verify every checksum; status 1 names file and offset of damage
    #[command(before_help = "Example: helenus admin scrub --mib-per-second 16")]
    Scrub(upkeep::Scrub),
    /// Make, list and remove snapshots: hard links of all SSTables, which an engine can open
    #[command(subcommand)]
    Snapshot(upkeep::Snapshot),
    /// Show the writes that the node keeps for members that missed them
    #[command(before_help = "Example: helenus admin hints")]
    Hints(Asked),
    /// Keep hints, but deliver none until `resume-handoff` or the next start of the node
    #[command(before_help = "Example: helenus admin pause-handoff")]
    PauseHandoff(tasks::How),
    /// Deliver hints again
    #[command(before_help = "Example: helenus admin resume-handoff")]
    ResumeHandoff(tasks::How),
    /// Drop the writes that the node keeps for members that missed them; those have to be repaired then
    #[command(before_help = "Example: helenus admin truncate-hints 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d")]
    TruncateHints(handoff::Truncate),
    /// Remove a dead member from the cluster, for ever: the ranges that it owned have one replica less until they are repaired
    #[command(before_help = "Example: helenus admin assassinate 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d --yes")]
    Assassinate {
        /// Host id of the member, as `admin status` shows it; a node that lives is not removed
        host_id: Uuid,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Remove it even though the node sees no majority of the members: only if all that it misses are dead, not cut off
        #[arg(long)]
        force: bool,
        /// Where.
        #[command(flatten)]
        how: tasks::How,
    },
}

/// A member, as `/admin/v1/status` lists it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Member {
    pub(super) host_id: String,
    pub(super) address: String,
    pub(super) datacenter: String,
    pub(super) rack: String,
    pub(super) up: Option<bool>,
    pub(super) state: String,
    pub(super) why: Option<String>,
    pub(super) clock: Option<String>,
    pub(super) tokens: u64,
    pub(super) owns: f64,
    pub(super) load_bytes: Option<u64>,
}

/// The answer of `/admin/v1/status`, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Status {
    pub(super) members: Vec<Member>,
}

/// Where it is.
pub(super) const STATUS_PATH: &str = "/admin/v1/status";

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Flush(tables) => tables.run("flush", "flushed")?,
            Self::Compact(tables) => tables.run("compact", "compacted")?,
            Self::Scrub(command) => command.run()?,
            Self::Drain(command) => command.run()?,
            Self::Tasks(command) => command.run()?,
            Self::Settings(command) => command.run()?,
            Self::SetLogLevel(command) => command.run()?,
            Self::TableStats { table, asked } => {
                let query = table.map(|table| format!("?table={table}")).unwrap_or_default();
                asked.show(&format!("/admin/v1/table-stats{query}"), table_stats::render)?;
            }
            Self::CompactionStats(asked) => {
                asked.show("/admin/v1/compaction-stats", compaction_stats::render)?;
            }
            Self::Histograms { table: None, asked } => {
                asked.show("/admin/v1/histograms", histograms::render)?;
            }
            Self::Histograms { table: Some(table), asked } => {
                asked.show(&format!("/admin/v1/histograms/{table}"), histograms::render_table)?;
            }
            Self::Snapshot(command) => command.run()?,
            Self::Hints(asked) => asked.show("/admin/v1/hints", handoff::render)?,
            Self::PauseHandoff(how) => handoff::pause(&how, true)?,
            Self::ResumeHandoff(how) => handoff::pause(&how, false)?,
            Self::TruncateHints(command) => command.run()?,
            Self::Status(asked) => asked.show(STATUS_PATH, status::render)?,
            Self::Ring { table, asked } => {
                let query = table.map(|table| format!("?table={table}")).unwrap_or_default();
                asked.show(&format!("/admin/v1/ring{query}"), ring::render)?;
            }
            Self::Info { tokens, asked } => {
                asked.show("/admin/v1/info", |info| info::render(info, tokens))?;
            }
            Self::DescribeCluster(asked) => {
                asked.show("/admin/v1/describe-cluster", describe_cluster::render)?;
            }
            Self::GossipInfo(asked) => asked.show("/admin/v1/gossip-info", gossip_info::render)?,
            Self::FailureDetector(asked) => {
                asked.show("/admin/v1/failure-detector", failure_detector::render)?;
            }
            Self::Assassinate { host_id, yes, force, how } => {
                if !yes {
                    confirm(host_id)?;
                }
                let force = if force { "?force=true" } else { "" };
                let path = format!("{ASSASSINATE_PATH}/{host_id}{force}");
                let answer = endpoint::post(&how.endpoint.endpoint, &path)?;
                let note = answer["note"].as_str().unwrap_or_default();
                how.answer(&answer, &output::wrapped(&format!("removed host {host_id}: {note}")))?;
            }
            Self::Endpoints { table, key, asked } => {
                let key = super::client::in_url(&key)?;
                asked
                    .show(&format!("/admin/v1/endpoints/{table}/{key}?key_encoding=base64url"), addresses)?;
            }
        }
        Ok(())
    }
}

impl Asked {
    /// Shows what is at a path of the node.
    fn show<T: DeserializeOwned>(&self, path: &str, render: impl Fn(&T) -> String) -> anyhow::Result<()> {
        let answer = endpoint::get_json(&self.endpoint.endpoint, path)?;
        match self.output.format {
            Format::Json => output::answer_json(&answer)?,
            Format::Table => output::answer(&render(&serde_json::from_value(answer)?))?,
        }
        Ok(())
    }
}

/// Where a member is removed.
const ASSASSINATE_PATH: &str = "/admin/v1/assassinate";

/// Has the host id typed once more. Whoever is not at a terminal says `--yes`.
fn confirm(host_id: Uuid) -> anyhow::Result<()> {
    if !stdin().is_terminal() {
        return Err(Usage("nothing is removed without --yes, or a terminal to ask at".to_owned()).into());
    }
    eprint!("Its data on other nodes stays; it never comes back. Type the host id again to remove it: ");
    let mut typed = String::new();
    stdin().read_line(&mut typed)?;
    anyhow::ensure!(typed.trim() == host_id.to_string(), "that is not the host id: nothing is removed");
    Ok(())
}

/// The answer of `/admin/v1/endpoints`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Endpoints {
    replicas: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    address: String,
}

/// The shape of Cassandra's `nodetool getendpoints`.
fn addresses(endpoints: &Endpoints) -> String {
    let addresses: Vec<&str> = endpoints.replicas.iter().map(|replica| replica.address.as_str()).collect();
    addresses.join("\n")
}

fn load(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| bytesize::ByteSize(bytes).to_string())
}

/// How far a clock is ahead.
#[expect(clippy::cast_precision_loss, reason = "an offset for people to read")]
fn offset(us: i64) -> String {
    if us.unsigned_abs() < 1_000_000 {
        format!("{:+.1} ms", us as f64 / 1e3)
    } else {
        format!("{:+.1} s", us as f64 / 1e6)
    }
}
