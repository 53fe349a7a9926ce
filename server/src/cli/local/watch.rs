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
    admin::{Member, STATUS_PATH, Status},
    endpoint,
};

/// How long one answer may take. A node that needs longer is not well.
const PATIENCE: Duration = Duration::from_millis(1000);

/// How long a wait goes on for what may never come: a node that was added to a cluster with records stays joining, and
/// one that runs need not be well.
const SOFT_PATIENCE: Duration = Duration::from_secs(3);

/// What a node says of itself and the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) ready: bool,
    /// Why it is not ready, as far as it says.
    pub(super) why: Option<String>,
    /// How many members it sees up, and how many it knows.
    pub(super) sees: Option<(usize, usize)>,
    /// How many of them are joining.
    pub(super) joining: usize,
}

/// What a node has not reached yet.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// Without it the goal is not reached.
    Needed(String),
    /// It may stay so.
    Wanted,
}

impl Observation {
    fn missing(&self, goal: Goal) -> Option<Missing> {
        if !self.ready {
            let what = match &self.why {
                Some(why) => format!("is not ready: {why}"),
                None => "does not answer".to_owned(),
            };
            return Some(Missing::Needed(what));
        }
        let Some((up, _)) = self.sees else {
            return Some(Missing::Needed("does not say whom it sees".to_owned()));
        };
        match goal {
            Goal::Whole(members) if up < members => {
                Some(Missing::Needed(format!("sees {up} of {members} nodes up")))
            }
            Goal::Whole(_) => (self.joining > 0).then_some(Missing::Wanted),
            Goal::Ready(members) => (up < members).then_some(Missing::Wanted),
        }
    }
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The node is ready, and sees that many members up unless that takes long.
    Ready(usize),
    /// The node is ready, and sees that many members up, and all normal unless that takes long.
    Whole(usize),
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
    let members = members.as_deref();
    let count = |matches: fn(&Member) -> bool| {
        members.map_or(0, |members| members.iter().filter(|member| matches(member)).count())
    };
    let sees = members.map(|members| (count(|member| member.up == Some(true)), members.len()));
    Observation { ready, why, sees, joining: count(|member| member.state != "normal") }
}

/// Whether a node takes no more requests.
pub(super) fn is_draining(address: SocketAddr) -> bool {
    let asked = Request::get(format!("http://{address}/readyz")).body(()).ok();
    let reply = asked.and_then(|request| agent().run(request).ok());
    reply.is_some_and(|mut reply| endpoint::problem(&mut reply).name() == "draining")
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
    let mut only_wanted_since = None;
    loop {
        let mut needed = None;
        let mut wanted = false;
        for node in nodes {
            match observe(&agent, directory.cluster.topology.spot(*node).http).missing(goal) {
                Some(Missing::Needed(what)) => {
                    needed = Some((*node, what));
                    break;
                }
                Some(Missing::Wanted) => wanted = true,
                None => {}
            }
        }
        for process in started.iter_mut() {
            if let Some(status) = process.ended() {
                let what = format!("ended ({status})");
                return Err(failure(directory, process.node, process.log_offset, &what));
            }
        }
        match needed {
            None if !wanted => return Ok(()),
            None => {
                let since: &mut Instant = only_wanted_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= SOFT_PATIENCE {
                    return Ok(());
                }
            }
            Some((node, what)) if start.elapsed() >= patience => {
                let started = started.iter().find(|process| process.node == node);
                let what = format!("{what} after {} s", patience.as_secs());
                return Err(failure(directory, node, started.map_or(0, |it| it.log_offset), &what));
            }
            Some(_) => only_wanted_since = None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_when_each_node_is_ready_and_sees_all_up_and_normal() {
        let whole = Observation { ready: true, why: None, sees: Some((3, 3)), joining: 0 };
        assert_eq!(whole.missing(Goal::Whole(3)), None);
        let joining = Observation { joining: 1, ..whole.clone() };
        assert_eq!(joining.missing(Goal::Whole(3)), Some(Missing::Wanted));
        assert_eq!(joining.missing(Goal::Ready(3)), None);
        let partly = Observation { sees: Some((2, 3)), ..whole.clone() };
        assert_eq!(partly.missing(Goal::Whole(3)), Some(Missing::Needed("sees 2 of 3 nodes up".to_owned())));
        assert_eq!(partly.missing(Goal::Ready(3)), Some(Missing::Wanted));
        assert_eq!(partly.missing(Goal::Ready(2)), None);
        let starting = Observation { ready: false, why: Some("starting (503): x".to_owned()), ..whole };
        for goal in [Goal::Ready(1), Goal::Whole(3)] {
            let what = "is not ready: starting (503): x".to_owned();
            assert_eq!(starting.missing(goal), Some(Missing::Needed(what)));
        }
    }
}
