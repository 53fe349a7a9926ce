//! The promises, as pure functions from a history to what contradicts them.
//!
//! They do not search for a linear order: a last-write-wins store says with each answer which version it is
//! ([`Timestamp`](crate::history::Timestamp)), so comparing versions is exact, costs a sort, and does not care how wrong
//! the clocks are that made them. What each checker may conclude from an answer:
//!
//! | checker | the promise |
//! |---|---|
//! | [`replies`] | nothing that was right is refused; `acknowledged` is at least `required` |
//! | [`lost_write`] | with W + R > N, a read that begins after an acknowledgement sees that version or a newer one |
//! | [`succession`] | a write that begins after an acknowledgement is newer, both by more than half of the replicas |
//! | [`invention`] | what is read was written, to that key, as it is read; what was refused with 503 is never read |
//! | [`last_write_wins`] | in the end each key holds the newest of its acknowledged and perhaps of its unknown writes |
//! | [`inserts`] | each key that was written once and acknowledged is there in the end |
//! | [`durability`] | what was acknowledged before all nodes died is there afterwards |
//! | [`liveness`] | after the heal each operation succeeds in time |
//! | [`availability`] | with enough healthy replicas, less than 1 % of the operations fail |
//! | [`expiry`] | a value is not seen after its expiry and not gone before |
//! | [`membership`] | after the heal all nodes see the same cluster, all of it up |
//! | [`monotonic`] | off unless asked: quorum reads never go back, not even to before an unacknowledged write |
//! | [`sessions`] | a read of a session is never older than what that session wrote or read, at any level and coordinator |
//! | [`replicas`] | for those who can look inside: all replicas hold the same |
//!
//! Silence is not guilt: an unknown write may show up late or never, a read without an answer says nothing, and at equal
//! timestamps only what the store's order decides is judged (`version`).

pub mod availability;
mod by_key;
pub mod durability;
pub mod expiry;
pub mod inserts;
pub mod invention;
pub mod last_write_wins;
pub mod liveness;
pub mod lost_write;
pub mod membership;
pub mod monotonic;
pub mod replicas;
pub mod replies;
pub mod sessions;
pub mod succession;
mod version;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::history::{History, Moment};

/// Who found a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checker {
    /// [`replies`].
    Replies,
    /// [`lost_write`].
    LostWrite,
    /// [`succession`].
    Succession,
    /// [`invention`].
    Invention,
    /// [`last_write_wins`].
    LastWriteWins,
    /// [`inserts`].
    Inserts,
    /// [`durability`].
    Durability,
    /// [`liveness`].
    Liveness,
    /// [`availability`].
    Availability,
    /// [`expiry`].
    Expiry,
    /// [`membership`].
    Membership,
    /// [`monotonic`].
    Monotonic,
    /// [`replicas`].
    Replicas,
    /// [`sessions`].
    Sessions,
}

impl Checker {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::LostWrite => "lost-write",
            Self::Succession => "succession",
            Self::Invention => "invention",
            Self::LastWriteWins => "last-write-wins",
            Self::Inserts => "inserts",
            Self::Durability => "durability",
            Self::Liveness => "liveness",
            Self::Availability => "availability",
            Self::Expiry => "expiry",
            Self::Membership => "membership",
            Self::Monotonic => "monotonic",
            Self::Replicas => "replicas",
            Self::Sessions => "sessions",
        }
    }
}

/// A contradiction between the history and a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Whose promise.
    pub checker: Checker,
    /// Where, if it is about one key.
    pub key: Option<String>,
    /// The operations that contradict each other, by id.
    pub operations: Vec<u64>,
    /// What is wrong, in a sentence.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.checker.name())?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What is checked, and how strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// Whether quorum reads must be monotonic even over unacknowledged writes; needs read repair.
    pub monotonic: bool,
    /// How long after a fault its nodes and links may still be missed.
    pub transition: Duration,
    /// How far the clocks that stamp and judge an expiry may be apart, with the rounding of seconds.
    pub clock_skew: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self { monotonic: false, transition: Duration::from_secs(2), clock_skew: Duration::from_secs(1) }
    }
}

/// Runs every checker that needs nothing but the history.
pub fn check(history: &History, checks: &Checks) -> Vec<Violation> {
    let mut violations = replies::check(history);
    violations.extend(lost_write::check(history));
    violations.extend(succession::check(history));
    violations.extend(invention::check(history));
    violations.extend(last_write_wins::check(history));
    violations.extend(inserts::check(history));
    violations.extend(durability::check(history));
    violations.extend(liveness::check(history));
    violations.extend(availability::check(history, checks.transition));
    violations.extend(expiry::check(history, checks.clock_skew));
    violations.extend(membership::check(history));
    violations.extend(sessions::check(history, Moment(0)));
    if checks.monotonic {
        violations.extend(monotonic::check(history, Moment(0)));
    }
    violations
}
