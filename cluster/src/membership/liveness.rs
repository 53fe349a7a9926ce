//! Which members are up, by the plainest rule: those whose connection is.

use std::collections::BTreeSet;

use crate::node_id::HostId;

/// Why a call to a member brought no answer, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// No connection could be made.
    Unreachable,
    /// The connection broke.
    Lost,
    /// One of the two refuses to talk.
    Refused,
    /// Another host answers at the member's address.
    WrongHost,
    /// No answer in time: a paused or busy node, and no proof of death.
    TimedOut,
    /// This node did not send it, or could not make sense of the answer.
    Local,
}

/// The members that are up. All others are down, those never spoken to included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Liveness {
    up: BTreeSet<HostId>,
}

impl Liveness {
    /// Whether a member is up.
    pub fn is_up(&self, host_id: HostId) -> bool {
        self.up.contains(&host_id)
    }

    /// A member has answered a call; whether that makes it up again.
    pub fn on_answer(&mut self, host_id: HostId) -> bool {
        self.up.insert(host_id)
    }

    /// A call to a member has failed; whether that makes it down.
    pub fn on_failure(&mut self, host_id: HostId, why: CallFailure) -> bool {
        match why {
            CallFailure::Unreachable | CallFailure::Lost | CallFailure::Refused | CallFailure::WrongHost => {
                self.up.remove(&host_id)
            }
            CallFailure::TimedOut | CallFailure::Local => false,
        }
    }
}
