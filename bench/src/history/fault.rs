//! What is done to a cluster while clients use it, and what its nodes say of it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Moment;

/// How a link that is cut feels to those who use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// Connections break, and new ones are closed as soon as they are made.
    Broken,
    /// Nothing arrives, and nobody is told. What was sent meanwhile arrives late, when the link heals.
    Held,
}

/// A disturbance. The vocabulary is that of real processes and of simulated nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A node dies without warning and is started again at the end.
    Kill {
        /// Which.
        node: u32,
    },
    /// A node stands still and goes on at the end.
    Pause {
        /// Which.
        node: u32,
    },
    /// A node is asked to stop and is started again.
    Restart {
        /// Which.
        node: u32,
    },
    /// Nothing passes between two nodes.
    Cut {
        /// One of them.
        a: u32,
        /// The other.
        b: u32,
        /// How it feels.
        silence: Silence,
    },
    /// Nothing passes from one node to another; what the other says still arrives.
    CutOneWay {
        /// Who is not heard.
        from: u32,
        /// Who does not hear.
        to: u32,
    },
    /// Everything between two nodes takes that much longer in each direction.
    Slow {
        /// One of them.
        a: u32,
        /// The other.
        b: u32,
        /// Delay of each direction.
        delay_ms: u32,
    },
    /// All nodes die at once and are started again.
    KillAll,
    /// A node ended by itself. Nobody did it: it is a violation.
    Crash {
        /// Which.
        node: u32,
    },
}

impl Fault {
    /// Its stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::Restart { .. } => "restart",
            Self::Cut { .. } => "cut",
            Self::CutOneWay { .. } => "cut-one-way",
            Self::Slow { .. } => "slow",
            Self::KillAll => "kill-all",
            Self::Crash { .. } => "crash",
        }
    }

    /// Whether a node does not work because of it.
    pub fn stops(&self, node: u32) -> bool {
        match *self {
            Self::Kill { node: sick }
            | Self::Pause { node: sick }
            | Self::Restart { node: sick }
            | Self::Crash { node: sick } => sick == node,
            Self::KillAll => true,
            Self::Cut { .. } | Self::CutOneWay { .. } | Self::Slow { .. } => false,
        }
    }

    /// Whether a node cannot ask another, and have its answer, within `deadline` because of it.
    pub fn separates(&self, asker: u32, other: u32, deadline: Duration) -> bool {
        let pair = |a: u32, b: u32| (a, b) == (asker, other) || (b, a) == (asker, other);
        match *self {
            Self::Cut { a, b, .. } => pair(a, b),
            // A question needs one direction, its answer the other.
            Self::CutOneWay { from, to } => pair(from, to),
            // Several round trips on one deadline, and room for everything else.
            Self::Slow { a, b, delay_ms } => {
                pair(a, b) && Duration::from_millis(u64::from(delay_ms)) * 8 > deadline
            }
            Self::Kill { .. }
            | Self::Pause { .. }
            | Self::Restart { .. }
            | Self::KillAll
            | Self::Crash { .. } => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node } => write!(f, "kill n{node}"),
            Self::Pause { node } => write!(f, "pause n{node}"),
            Self::Restart { node } => write!(f, "restart n{node}"),
            Self::Cut { a, b, silence: Silence::Broken } => write!(f, "cut n{a} – n{b} (connections break)"),
            Self::Cut { a, b, silence: Silence::Held } => write!(f, "cut n{a} – n{b} (silent)"),
            Self::CutOneWay { from, to } => write!(f, "cut n{from} → n{to} (silent)"),
            Self::Slow { a, b, delay_ms } => write!(f, "slow n{a} – n{b} (+{delay_ms} ms each way)"),
            Self::KillAll => f.write_str("kill all nodes"),
            Self::Crash { node } => write!(f, "n{node} ended by itself"),
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEvent {
    /// What.
    pub fault: Fault,
    /// Just before it was done.
    pub from: Moment,
    /// Just after it was undone: the node says that it is ready, the link carries bytes again.
    pub until: Moment,
}

/// A member as some node sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberView {
    /// Its identity.
    pub host_id: String,
    /// `normal`, `joining`, …
    pub state: String,
    /// Whether it is thought to be up.
    pub up: bool,
}

/// The cluster as one node sees it after everything was healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// When it was asked.
    pub at: Moment,
    /// Who was asked.
    pub node: u32,
    /// Its answer, ordered by host id. Empty: it gave none.
    pub members: Vec<MemberView>,
}
