//! Why a request was not answered with a result, in terms that a client can act on.

use std::time::Duration;

use crate::{
    consistency::Consistency,
    counted::{counted, is_or_are},
    message::ReplicaError,
    node_id::HostId,
    scan::{BoundsError, PageTokenError},
    time::Timestamp,
};

/// An error of a read or write. Only the server knows status codes; each variant says what is known of the
/// outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing was sent.
    #[error("there is no table `{0}`")]
    NoSuchTable(String),
    /// Nothing was sent: this node does not know the table, and no other member could be asked in time.
    #[error(
        "whether there is a table `{0}` is not known: this node has none, and no other member has told it in time"
    )]
    TableUnknown(String),
    /// The table is gone, with all that the request may have done.
    #[error("the table `{0}` was dropped while the request was under way")]
    TableDropped(String),
    /// Nothing was sent.
    #[error("{detail}")]
    InvalidConsistency {
        /// The level.
        level: Consistency,
        /// What is wrong with it, naming level and factor.
        detail: String,
    },
    /// Nothing was sent: this build has no such level yet.
    #[error("consistency level {0} is not supported by this build")]
    UnsupportedConsistency(Consistency),
    /// Nothing was sent.
    #[error(transparent)]
    InvalidBounds(#[from] BoundsError),
    /// Nothing was sent.
    #[error(transparent)]
    InvalidPage(#[from] PageTokenError),
    /// Nothing was sent: the client's timestamp is zero or too far ahead of this node's clock.
    #[error("timestamp {timestamp:?} is outside 1..={max:?}, the clock of this node plus the allowed drift")]
    TimestampOutOfRange {
        /// The client's.
        timestamp: Timestamp,
        /// The highest that is accepted now.
        max: Timestamp,
    },
    /// Nothing was sent: the session is of another cluster.
    #[error("the session is of another cluster")]
    ForeignSession,
    /// Nothing was sent: the session's next write would be too far ahead of this node's clock.
    #[error(
        "the session has met timestamp {clock:?}; a write above it would be beyond {max:?}, the clock of this node plus \
         the allowed drift"
    )]
    SessionAhead {
        /// The highest timestamp that the session knows of.
        clock: Timestamp,
        /// The highest that is accepted now.
        max: Timestamp,
    },
    /// The level was met, but no replica that answered holds what the session has seen, or may have seen.
    #[error(
        "the session has met what none of the {} that answered holds for certain; the key has {}",
        counted(*heard, "replica"),
        counted(*replicas, "replica")
    )]
    SessionUnavailable {
        /// The level.
        level: Consistency,
        /// Replicas that it required.
        required: u32,
        /// Replicas that answered, beyond the level too.
        heard: u32,
        /// Replicas of the key, alive or not.
        replicas: u32,
    },
    /// Nothing was sent: too few replicas are alive.
    #[error(
        "level {level} requires {} and {alive} {} alive{}{}",
        counted(*required, "replica"),
        is_or_are(*alive),
        where_short(shortages, |had| format!("{} alive", is_or_are(had))),
        who_is_down(down)
    )]
    Unavailable {
        /// The level.
        level: Consistency,
        /// Replicas it requires.
        required: u32,
        /// Replicas that are alive and would count.
        alive: u32,
        /// What is lacking where, of a level that looks at datacenters.
        shortages: Vec<Shortage>,
        /// The replicas that would count and are down.
        down: Vec<HostId>,
    },
    /// Nothing was sent: a bound of this node was hit.
    #[error("the node is overloaded: {0}")]
    Overloaded(&'static str),
    /// Nothing was sent: the node does not serve yet.
    #[error("the node is starting: {0}")]
    Starting(String),
    /// Nothing was sent: the node is about to stop.
    #[error("the node is draining")]
    Draining,
    /// Nothing was sent: this node's clock cannot be trusted.
    #[error("the clock of this node is off: {0}")]
    ClockSkew(String),
    /// Silence or lost connections: the level is out of reach or the deadline has passed. A write may or may not
    /// be applied.
    #[error(
        "{}{}",
        too_few_answers(*level, *required, *received, *silent, *lost, *timeout),
        where_short(shortages, |_| "answered".to_owned())
    )]
    Timeout {
        /// The level.
        level: Consistency,
        /// Replicas it requires.
        required: u32,
        /// Replicas that answered.
        received: u32,
        /// Replicas that said nothing until the deadline. None: the level was out of reach before it.
        silent: u32,
        /// Replicas that could not be reached, or whose connection was lost.
        lost: u32,
        /// How long the request was given.
        timeout: Duration,
        /// What is lacking where, of a level that looks at datacenters.
        shortages: Vec<Shortage>,
    },
    /// All missing answers were error answers. A write may or may not be applied.
    #[error(
        "level {level} requires {}, {received} answered and {} failed{}",
        counted(*required, "replica"),
        failures.len(),
        where_short(shortages, |_| "answered".to_owned())
    )]
    Failed {
        /// The level.
        level: Consistency,
        /// Replicas it requires.
        required: u32,
        /// Replicas that answered.
        received: u32,
        /// What the others answered.
        failures: Vec<(HostId, ReplicaError)>,
        /// What is lacking where, of a level that looks at datacenters.
        shortages: Vec<Shortage>,
    },
    /// The level was met, but by replicas that had a record that wins over the write, from too far ahead of this node's clock
    /// to stamp the write above it. It may be seen or not.
    #[error(
        "a record of timestamp {} was there before and wins over what was written, which could not be stamped above it: \
         it may be seen or not",
        newer.0
    )]
    Outrun {
        /// The level.
        level: Consistency,
        /// Replicas it requires.
        required: u32,
        /// Replicas that answered.
        received: u32,
        /// When the record was stamped.
        newer: Timestamp,
    },
}

/// A datacenter in which a level lacks replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Its name.
    pub datacenter: String,
    /// Replicas that the level requires there.
    pub required: u32,
    /// Replicas there that are alive, or have answered.
    pub had: u32,
}

fn where_short(shortages: &[Shortage], what: impl Fn(u32) -> String) -> String {
    let one = |Shortage { datacenter, required, had }: &Shortage| {
        format!("; in datacenter {datacenter} it requires {required} and {had} {}", what(*had))
    };
    shortages.iter().map(one).collect()
}

fn who_is_down(down: &[HostId]) -> String {
    let names: Vec<String> = down.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!("; down: {}", names.join(", ")) }
}

/// What became of the answers of a [`RequestError::Timeout`]. "In time" is said only if time ran out.
fn too_few_answers(
    level: Consistency,
    required: u32,
    received: u32,
    silent: u32,
    lost: u32,
    timeout: Duration,
) -> String {
    let required = counted(required, "replica");
    let in_time = format!("level {level} requires {required} and {received} answered in time ({timeout:?})");
    match (silent, lost) {
        (_, 0) => in_time,
        (0, _) => format!(
            "level {level} requires {required}, {received} answered, and {lost} could not be reached or lost \
             the connection"
        ),
        (_, _) => format!("{in_time}; {lost} could not be reached or lost the connection"),
    }
}
