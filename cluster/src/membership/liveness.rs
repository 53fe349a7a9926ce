//! Which members are up: those that this node's calls reach, and that it does not take for dead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

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

/// What an incoming exchange says about its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignOfLife {
    /// Nothing new: it was up.
    WasUp,
    /// It is up now.
    IsUp,
    /// That it lives, and can reach this node; not that this node can reach it. Worth an attempt at once.
    Unproven,
}

/// What a failed call says about the member that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignOfDeath {
    /// Nothing new, or nothing at all.
    None,
    /// It was up and is down now.
    IsDown,
    /// The call is older than the member's last answer: that one of its connections was lost is no proof that there is
    /// none. Worth an attempt at once.
    Outdated,
}

/// The members that are up. All others are down, those never spoken to included.
///
/// This node's own calls have the last word: requests go the way of its calls, and a cable may be cut in one direction
/// only. So what a member sends makes it up only while no call has shown the contrary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Liveness {
    up: BTreeSet<HostId>,
    /// When each member last answered a call.
    answered: BTreeMap<HostId, Instant>,
    /// Those that the last decisive call did not reach.
    failing: BTreeSet<HostId>,
    /// Those that were called, whatever came of it.
    tried: BTreeSet<HostId>,
}

impl Liveness {
    /// Whether a member is up.
    pub fn is_up(&self, host_id: HostId) -> bool {
        self.up.contains(&host_id)
    }

    /// Whether the last decisive call to a member did not reach it.
    pub fn is_failing(&self, host_id: HostId) -> bool {
        self.failing.contains(&host_id)
    }

    /// Whether a call to a member has ended, whatever came of it. That the member has called is not enough: only the
    /// answer to a call of this node tells how their clocks stand ([`super::clock_watch`]).
    pub fn is_settled(&self, host_id: HostId) -> bool {
        self.tried.contains(&host_id)
    }

    /// A member has answered a call; whether that makes it up again.
    pub fn on_answer(&mut self, host_id: HostId, now: Instant) -> bool {
        self.answered.insert(host_id, now);
        self.tried.insert(host_id);
        self.failing.remove(&host_id);
        self.up.insert(host_id)
    }

    /// A member is taken for dead ([`super::probe`]), though no call has failed for sure. Whether it was up.
    pub fn on_conviction(&mut self, host_id: HostId) -> bool {
        self.up.remove(&host_id)
    }

    /// A member has called.
    pub fn on_heard(&mut self, host_id: HostId) -> SignOfLife {
        if self.failing.contains(&host_id) {
            SignOfLife::Unproven
        } else if self.up.insert(host_id) {
            SignOfLife::IsUp
        } else {
            SignOfLife::WasUp
        }
    }

    /// A call to a member, begun at `began`, has failed.
    pub fn on_failure(&mut self, host_id: HostId, why: CallFailure, began: Instant) -> SignOfDeath {
        self.tried.insert(host_id);
        if matches!(why, CallFailure::TimedOut | CallFailure::Local) {
            return SignOfDeath::None;
        }
        if self.is_up(host_id) && self.answered.get(&host_id).is_some_and(|answered| began < *answered) {
            return SignOfDeath::Outdated;
        }
        self.failing.insert(host_id);
        if self.up.remove(&host_id) { SignOfDeath::IsDown } else { SignOfDeath::None }
    }
}
