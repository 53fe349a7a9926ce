//! Asking nodes how they are.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use ureq::{Agent, http::Request};

use super::{
    directory::{Directory, log_tail},
    process::Started,
};
use crate::cli::{
    admin::{STATUS_PATH, Status},
    endpoint,
};

/// How long one answer may take. A node that needs longer is not well.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What a node says of itself and the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) ready: bool,
    /// Why it is not ready, as far as it says.
    pub(super) why: Option<String>,
    /// How many members it sees up, and how many it knows.
    pub(super) sees: Option<(usize, usize)>,
}

impl Observation {
    /// Why it does not yet see `members` up, if it does not.
    fn missing(&self, members: usize) -> Option<String> {
        match self.sees {
            _ if !self.ready => Some(match &self.why {
                Some(why) => format!("is not ready: {why}"),
                None => "does not answer".to_owned(),
            }),
            Some((up, _)) if up >= members => None,
            Some((up, _)) => Some(format!("sees {up} of {members} nodes up")),
            None => Some("does not say whom it sees".to_owned()),
        }
    }
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The node is ready.
    Ready,
    /// The node is ready and sees that many members up.
    Sees(usize),
}

/// An HTTP client for questions.
pub(super) fn agent() -> Agent {
    endpoint::agent(PATIENCE)
}

/// Asks a node.
pub(super) fn observe(agent: &Agent, address: SocketAddr) -> Observation {
    let get = |path: &str| {
        let request = Request::get(format!("http://{address}{path}")).body(()).ok()?;
        agent.run(request).ok()
    };
    let Some(mut readiness) = get("/readyz") else { return Observation::default() };
    let ready = readiness.status() == 200;
    let why = (!ready).then(|| endpoint::refusal(&mut readiness).to_string());
    let members = get(STATUS_PATH).and_then(|mut response| {
        let status: Status = serde_json::from_slice(&endpoint::read(&mut response).ok()?).ok()?;
        Some(status.members)
    });
    let sees = members.map(|members| (members.iter().filter(|member| member.up).count(), members.len()));
    Observation { ready, why, sees }
}

/// Waits until the nodes have reached the goal.
///
/// # Errors
/// When a process that was just started ends, or the time is over; with the end of that node's log.
pub(super) fn wait(
    directory: &Directory,
    nodes: &[u32],
    started: &mut [Started],
    goal: Goal,
    patience: Duration,
) -> anyhow::Result<()> {
    let agent = agent();
    let start = Instant::now();
    let mut waiting: Vec<u32> = nodes.to_vec();
    loop {
        let mut missing = None;
        waiting.retain(|node| {
            let observation = observe(&agent, directory.cluster.topology.spot(*node).http);
            let what = match goal {
                Goal::Ready => observation.missing(0).filter(|_| !observation.ready),
                Goal::Sees(members) => observation.missing(members),
            };
            let keep = what.is_some();
            missing = missing.take().or(what.map(|what| (*node, what)));
            keep
        });
        for process in started.iter_mut() {
            if let Some(status) = process.ended() {
                directory.forget(process.node)?;
                let what = format!("ended ({status})");
                return Err(failure(directory, process.node, process.log_offset, &what));
            }
        }
        let Some((node, what)) = missing else { return Ok(()) };
        if start.elapsed() >= patience {
            let offset = started.iter().find(|process| process.node == node).map_or(0, |it| it.log_offset);
            let what = format!("{what} after {} s", patience.as_secs());
            return Err(failure(directory, node, offset, &what));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn failure(directory: &Directory, node: u32, log_offset: u64, what: &str) -> anyhow::Error {
    let path = directory.log(node);
    let tail = log_tail(&path, log_offset, 20);
    let tail = if tail.is_empty() { "(it wrote nothing)" } else { &tail };
    anyhow::anyhow!("node {node} {what}; the end of {}:\n{tail}", path.display())
}
