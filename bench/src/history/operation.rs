//! One operation of one client.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Microseconds since the start of the history, on the monotonic clock of whoever records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment that much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier`; nothing if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    /// Milliseconds with three decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}

/// The store's timestamp of a version: microseconds since 1970 by a coordinator's clock or a client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// The name of a written value, unique in the history. The bytes that are stored must be ordered as these numbers
/// (fixed-width text or big-endian), because the store decides equal timestamps by larger bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub u64);

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// How many replicas an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// One, or a hint.
    Any,
    /// One.
    One,
    /// Two.
    Two,
    /// Three.
    Three,
    /// More than half.
    Quorum,
    /// Each of them.
    All,
    /// One in the coordinator's datacenter.
    LocalOne,
    /// More than half of those in the coordinator's datacenter.
    LocalQuorum,
    /// More than half of those in each datacenter.
    EachQuorum,
    /// That many.
    Count(u32),
}

impl Level {
    /// How many replicas that is of `factor` in one datacenter.
    pub fn required(self, factor: u32) -> u32 {
        match self {
            Self::Any | Self::One | Self::LocalOne => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Quorum | Self::LocalQuorum | Self::EachQuorum => factor / 2 + 1,
            Self::All => factor,
            Self::Count(count) => count,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("any"),
            Self::One => f.pad("one"),
            Self::Two => f.pad("two"),
            Self::Three => f.pad("three"),
            Self::Quorum => f.pad("quorum"),
            Self::All => f.pad("all"),
            Self::LocalOne => f.pad("local_one"),
            Self::LocalQuorum => f.pad("local_quorum"),
            Self::EachQuorum => f.pad("each_quorum"),
            Self::Count(count) => f.pad(&count.to_string()),
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "any" => Self::Any,
            "one" => Self::One,
            "two" => Self::Two,
            "three" => Self::Three,
            "quorum" => Self::Quorum,
            "all" => Self::All,
            "local_one" => Self::LocalOne,
            "local_quorum" => Self::LocalQuorum,
            "each_quorum" => Self::EachQuorum,
            number => match number.parse() {
                Ok(count @ 1..) => Self::Count(count),
                _ => {
                    return Err(format!(
                        "`{text}` is no level; use any, one, two, three, quorum, all, local_one, local_quorum, \
                         each_quorum or a number"
                    ));
                }
            },
        })
    }
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Store a value.
    Write {
        /// Its unique name.
        value: ValueId,
        /// Seconds until it expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_s: Option<u32>,
        /// The client's own timestamp.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_timestamp: Option<Timestamp>,
    },
    /// Delete the key.
    Delete {
        /// The client's own timestamp.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_timestamp: Option<Timestamp>,
    },
    /// Read the key.
    Read,
}

impl Action {
    /// `write`, `write-ttl`, `delete` or `read`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write { ttl_s: None, .. } => "write",
            Self::Write { ttl_s: Some(_), .. } => "write-ttl",
            Self::Delete { .. } => "delete",
            Self::Read => "read",
        }
    }
}

/// What the client knows of an operation's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done: a write is acknowledged, a read has an answer.
    Ok,
    /// Known not applied.
    Failed,
    /// Perhaps applied, perhaps later, perhaps never. For a read: no answer.
    Unknown,
    /// Refused as wrong although nothing was wrong with it. Not applied, and a violation in itself.
    Rejected,
}

impl Outcome {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
        }
    }
}

/// What a read saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Seen {
    /// A value.
    Value {
        /// Its name.
        value: ValueId,
        /// Its timestamp.
        timestamp: Timestamp,
        /// Seconds that it said it has left, if it expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_left_s: Option<u64>,
    },
    /// Bytes that no client writes.
    Garbage {
        /// Their timestamp.
        timestamp: Timestamp,
        /// What they look like.
        bytes: String,
    },
    /// A deletion, or the expiry of a value.
    Tombstone {
        /// Its timestamp.
        timestamp: Timestamp,
    },
    /// Nothing was ever there.
    Absent,
}

/// When in the run an operation happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// While the cluster was disturbed.
    #[default]
    Disturbed,
    /// After everything was healed: it must succeed.
    Healed,
    /// A read of the state that is left at the end: it must succeed.
    Final,
}

/// What the server said about replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// How many it needed.
    pub required: u32,
    /// How many it had when it answered.
    pub acknowledged: u32,
}

/// The detail of a read that stands for a key which no page of a whole scan had: it took as long as all of them.
pub const IN_MANY_PAGES: &str = "in the pages of a scan";

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Unique in the history.
    pub id: u64,
    /// A client has one operation at a time.
    pub client: u32,
    /// The key.
    pub key: String,
    /// What was asked for.
    pub action: Action,
    /// How many replicas were asked for.
    pub level: Level,
    /// The node that was asked.
    pub coordinator: u32,
    /// When in the run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Just before it was sent.
    pub invoked: Moment,
    /// Just after it was answered or given up.
    pub returned: Moment,
    /// What came of it.
    pub outcome: Outcome,
    /// An acknowledged write's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// What an answered read saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// What the server said about replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Acknowledgement>,
    /// The session that it belongs to, if its client sent back what earlier replies gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Why it is not ok, for people; or [`IN_MANY_PAGES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Operation {
    /// Whether it is an answered read.
    pub fn is_ok_read(&self) -> bool {
        self.outcome == Outcome::Ok && self.action == Action::Read
    }

    /// Whether it is an acknowledged write or delete.
    pub fn is_ok_write(&self) -> bool {
        self.outcome == Outcome::Ok && self.is_write()
    }

    /// Whether it is a write or delete, however it ended.
    pub fn is_write(&self) -> bool {
        self.action != Action::Read
    }

    /// The timestamp that its client has chosen.
    pub fn client_timestamp(&self) -> Option<Timestamp> {
        match self.action {
            Action::Write { client_timestamp, .. } | Action::Delete { client_timestamp } => client_timestamp,
            Action::Read => None,
        }
    }

    /// Whether it may have taken effect, now or later.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::Unknown)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
