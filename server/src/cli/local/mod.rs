//! `helenus local`: a cluster of real, detached processes on this machine.
//!
//! ```text
//!   DIR/cluster.json      what was asked of `up`; marks the directory as ours
//!   DIR/lock              held while processes are started or stopped
//!   DIR/node1/data        the node's data directory
//!   DIR/node1/log         its standard streams, all starts after another
//!   DIR/node1/pid         process id, and the start time that tells the process from a later one of the same id
//! ```
//!
//! Nothing runs besides the nodes: each command looks at the directory and at `/proc`. The processes are told their
//! settings on their command lines, where no environment variable wins over them.
//!
//! Reading order: [`topology`] is who listens where; `directory` the files above; `process` starting, finding and
//! signalling; `watch` asking the nodes how they are; `shell` what is told to be typed; [`status`] and [`lifecycle`] the commands made of them.

mod directory;
pub mod lifecycle;
mod process;
mod shell;
pub mod status;
pub mod topology;
mod watch;

use std::path::PathBuf;

use super::output::FormatArgs;

/// `helenus local`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus local up --nodes 3 && helenus local status")]
pub struct Local {
    /// Directory of the cluster
    #[arg(long, global = true, default_value = ".helenus")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start a cluster and wait until each node is ready and sees all others up
    ///
    /// With several datacenters or racks each node has an address of its own, 127.dc.rack.i, and the ports 7071 and 7171.
    /// If the cluster does not come up, the nodes that this command has started are stopped again.
    #[command(before_help = "Example: helenus local up --nodes 6 --datacenters 2 --racks 3")]
    Up(Up),
    /// Show the nodes and what they see of each other
    #[command(before_help = "Example: helenus local status -o json")]
    Status {
        #[command(flatten)]
        output: FormatArgs,
    },
    /// Stop all nodes: SIGTERM, after ten seconds SIGKILL
    #[command(before_help = "Example: helenus local down --wipe")]
    Down {
        /// Remove the directory and all data in it
        #[arg(long)]
        wipe: bool,
    },
    /// Print the log of a node
    #[command(before_help = "Example: helenus local logs 2 -f")]
    Logs {
        /// Number of the node
        #[arg(value_name = "N")]
        node: u32,
        /// Go on with what the node writes from now on
        #[arg(short, long)]
        follow: bool,
    },
    /// Send a signal to a node, SIGKILL if not told otherwise
    #[command(before_help = "Example: helenus local kill 3 --signal TERM")]
    Kill {
        /// Number of the node
        #[arg(value_name = "N")]
        node: u32,
        /// Name or number of the signal
        #[arg(long, default_value = "KILL", value_parser = process::signal)]
        signal: rustix::process::Signal,
    },
    /// Start a stopped node and wait until it is ready
    #[command(before_help = "Example: helenus local start 3")]
    Start {
        /// Number of the node
        #[arg(value_name = "N")]
        node: u32,
    },
    /// Stop a node in its tracks: it is silent, not dead (SIGSTOP)
    #[command(before_help = "Example: helenus local pause 3")]
    Pause {
        /// Number of the node
        #[arg(value_name = "N")]
        node: u32,
    },
    /// Let a paused node go on (SIGCONT)
    #[command(before_help = "Example: helenus local resume 3")]
    Resume {
        /// Number of the node
        #[arg(value_name = "N")]
        node: u32,
    },
    /// Start a further node and wait until it is ready
    ///
    /// The node counts in writes at once: each waits for one replica more where the node is to become one. Once the
    /// cluster holds records of clients it stays joining, since nothing moves them to it yet: to be rid of it, kill it and
    /// remove it by `admin assassinate`.
    #[command(before_help = "Example: helenus local add")]
    Add,
}

/// `helenus local up`. What is not given is as it was when the cluster was made.
#[derive(Debug, Default, clap::Args)]
pub struct Up {
    /// Number of nodes [default: 3]
    #[arg(long)]
    nodes: Option<u32>,
    /// Datacenters that the nodes are spread over [default: 1]
    #[arg(long)]
    datacenters: Option<u32>,
    /// Racks of each datacenter [default: 1]
    #[arg(long)]
    racks: Option<u32>,
    /// Node i listens for clients on this port + i; only with one datacenter and one rack [default: 7070]
    #[arg(long, value_name = "PORT")]
    http_base: Option<u16>,
    /// Node i listens for other nodes on this port + i; only with one datacenter and one rack [default: 7170]
    #[arg(long, value_name = "PORT")]
    peer_base: Option<u16>,
    /// A setting of all nodes
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = super::setting)]
    set: Vec<String>,
}

impl Local {
    /// Runs it.
    ///
    /// # Errors
    /// When the cluster is not what the command needs, or does not become it in time.
    pub fn run(self) -> anyhow::Result<()> {
        let directory = std::path::absolute(&self.dir)?;
        match self.command {
            Command::Up(up) => lifecycle::up(&directory, &up),
            Command::Status { output } => status::show(&directory, output.format),
            Command::Down { wipe } => lifecycle::down(&directory, wipe),
            Command::Logs { node, follow } => lifecycle::logs(&directory, node, follow),
            Command::Kill { node, signal } => lifecycle::kill(&directory, node, signal),
            Command::Start { node } => lifecycle::start(&directory, node),
            Command::Pause { node } => lifecycle::pause(&directory, node),
            Command::Resume { node } => lifecycle::resume(&directory, node),
            Command::Add => lifecycle::add(&directory),
        }
    }
}
