//! What the nodes do and see, as a table, and what to do with them, as lines to paste.

use std::path::Path;

use serde_json::json;

use super::{
    directory::Directory,
    process::{Recorded, State},
    shell, watch,
};
use crate::cli::output::{self, Format};

/// Shows the nodes and what they see of each other.
///
/// # Errors
/// When there is no cluster.
pub fn show(path: &Path, format: Format) -> anyhow::Result<()> {
    let directory = Directory::open(path)?;
    match format {
        Format::Table => output::answer(&table(&directory))?,
        Format::Json => {
            let nodes: Vec<serde_json::Value> = observe_all(&directory)
                .into_iter()
                .map(|row| {
                    json!({
                        "node": row.node,
                        "pid": row.pid,
                        "state": row.state,
                        "http": row.http,
                        "peers": row.peers,
                        "ready": row.seen.ready,
                        "sees_up": row.seen.sees.map(|(up, _)| up),
                        "members": row.seen.sees.map(|(_, members)| members),
                    })
                })
                .collect();
            output::answer_json(&json!({"directory": directory.path(), "nodes": nodes}))?;
        }
    }
    Ok(())
}

/// A line of `status`.
struct Row {
    node: u32,
    pid: Option<i32>,
    state: &'static str,
    http: String,
    peers: String,
    seen: watch::Observation,
}

fn observe_all(directory: &Directory) -> Vec<Row> {
    let agent = watch::agent();
    let row = |node| {
        let spot = directory.cluster.topology.spot(node);
        let (process, state) = state(directory, node);
        let seen = match state {
            State::Running => watch::observe(&agent, spot.http),
            State::Paused | State::Stopped => watch::Observation::default(),
        };
        let state = match state {
            State::Running => "running",
            State::Paused => "paused",
            State::Stopped => "stopped",
        };
        let (http, peers) = (format!("http://{}", spot.http), spot.peer.to_string());
        Row { node, pid: process.map(|process| process.pid), state, http, peers, seen }
    };
    directory.nodes().map(row).collect()
}

pub(super) fn table(directory: &Directory) -> String {
    let rows: Vec<[String; 7]> = observe_all(directory)
        .into_iter()
        .map(|row| {
            [
                row.node.to_string(),
                row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                row.state.to_owned(),
                row.http,
                row.peers,
                if row.seen.ready { "yes" } else { "no" }.to_owned(),
                row.seen.sees.map_or_else(|| "-".to_owned(), |(up, members)| format!("{up}/{members}")),
            ]
        })
        .collect();
    output::table(["NODE", "PID", "STATE", "HTTP", "PEERS", "READY", "SEES UP"], &rows)
}

/// Lines to paste.
pub(super) fn banner(directory: &Directory) -> String {
    let topology = &directory.cluster.topology;
    let (first, last) = (topology.spot(1).http, topology.spot(topology.nodes).http);
    let (program, dir) = (shell::program(), shell::option(directory.path()));
    let export = if first.to_string() == "127.0.0.1:7071" {
        String::new()
    } else {
        format!("  export HELENUS_ENDPOINT=http://{first}\n")
    };
    format!(
        "Try it:\n{export}  \
         curl -X PUT --data-binary 'hello' 'http://{first}/v1/kv/default/greeting?consistency=quorum'\n  \
         curl 'http://{last}/v1/kv/default/greeting?consistency=quorum'\n  \
         {program} get default greeting\n  \
         {program} admin status\n  \
         {program} local{dir} down"
    )
}

/// The process of a node, if it has one, and what it does.
pub(super) fn state(directory: &Directory, node: u32) -> (Option<Recorded>, State) {
    let recorded = directory.recorded(node).map(|process| (process, process.state()));
    match recorded {
        Some((process, state @ (State::Running | State::Paused))) => (Some(process), state),
        _ => (None, State::Stopped),
    }
}
