//! Which members are up, as the calls of this node and the probes of others tell.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use tokio::time::Instant;

use super::KnownCluster;
use crate::{
    membership::{Belief, CallFailure, SignOfDeath, SignOfLife, Verdict},
    node::{steps::millis, transport::CallError},
    node_id::HostId,
};

/// The opinion of a member that others reach and this node does not.
const UNREACHABLE: &str = "unreachable";

impl KnownCluster {
    /// Whether a member is up; this node is, unless it has left.
    pub(crate) fn is_up(&self, host_id: HostId) -> bool {
        let is_self = host_id == self.identity.host_id();
        !self.has_left() && (is_self || self.liveness.read().is_up(host_id))
    }

    /// What this node thinks of another member, in a word. A bad link makes a member down for this node and dead for nobody:
    /// it is alive, and unreachable from here.
    pub(crate) fn opinion_of(&self, host_id: HostId) -> &'static str {
        match self.hearsay.belief(host_id) {
            Belief::Alive if self.liveness.read().is_failing(host_id) => UNREACHABLE,
            Belief::Alive => "alive",
            Belief::Suspected => "suspected",
            Belief::Convicted => "dead",
        }
    }

    /// Why a member is down that is not dead.
    pub(crate) fn why_down(&self, host_id: HostId) -> Option<String> {
        let is_unreachable = !self.has_left() && self.opinion_of(host_id) == UNREACHABLE;
        is_unreachable
            .then(|| "the calls of this node do not reach it, but it is alive: others reach it".to_owned())
    }

    /// Whether this node knows at all who is up: one that has left hears of nobody.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    /// The node has ended its part in the cluster: it calls nobody and answers nobody.
    pub(crate) fn leave(&self) {
        self.has_left.store(true, Ordering::Release);
    }

    /// A member has answered a call.
    pub(super) fn mark_up(&self, host_id: HostId) {
        let picture = self.picture.load();
        let Some(member) = picture.view.member(host_id) else { return };
        self.hearsay.on_contact(host_id);
        if self.liveness.write().on_answer(host_id, Instant::now().into_std()) {
            helenus_storage::sometimes!("a peer came up");
            tracing::info!(host = %host_id, state = "up", address = member.address, "peer is up");
        }
    }

    /// A member has called.
    pub(super) fn mark_heard(&self, host_id: HostId) {
        let picture = self.picture.load();
        let Some(member) = picture.view.member(host_id) else { return };
        self.hearsay.on_contact(host_id);
        let heard = self.liveness.write().on_heard(host_id);
        match heard {
            SignOfLife::WasUp => {}
            SignOfLife::IsUp => {
                tracing::info!(host = %host_id, state = "up", address = member.address, "peer is up");
            }
            SignOfLife::Unproven => self.call_soon(host_id),
        }
    }

    fn call_soon(&self, host_id: HostId) {
        self.in_doubt.lock().insert(host_id);
        self.doubt.notify_one();
    }

    /// Waits for members of which calls that failed and answers or calls of theirs say different things; they are to be
    /// called at once.
    pub(crate) async fn members_in_doubt(&self) -> BTreeSet<HostId> {
        self.doubt.notified().await;
        std::mem::take(&mut *self.in_doubt.lock())
    }

    /// Whether the ring is known and it was tried to reach every other member of it.
    pub(crate) fn has_tried_all(&self) -> bool {
        let picture = self.picture.load();
        let liveness = self.liveness.read();
        picture.is_ring_known() && picture.view.others().all(|member| liveness.is_settled(member.host_id))
    }

    /// The other members that were not called yet.
    pub(crate) fn untried(&self) -> Vec<HostId> {
        let picture = self.picture.load();
        let liveness = self.liveness.read();
        let others = picture.view.others().map(|member| member.host_id);
        others.filter(|host_id| !liveness.is_settled(*host_id)).collect()
    }

    /// A call to a member, begun at `began`, has failed.
    pub(crate) fn on_failure(&self, host_id: HostId, error: &CallError, began: Instant) {
        let why = match error {
            CallError::Unreachable { .. } => CallFailure::Unreachable,
            CallError::Lost { .. } => CallFailure::Lost,
            CallError::Refused(_) => CallFailure::Refused,
            CallError::WrongHost { .. } => CallFailure::WrongHost,
            CallError::TimedOut => CallFailure::TimedOut,
            CallError::Overloaded | CallError::Malformed { .. } => CallFailure::Local,
        };
        let sign = self.liveness.write().on_failure(host_id, why, began.into_std());
        if sign != SignOfDeath::Outdated && !matches!(why, CallFailure::TimedOut | CallFailure::Local) {
            self.hearsay.on_broken(host_id);
            self.doubt.notify_one();
        }
        match sign {
            SignOfDeath::None => {}
            SignOfDeath::IsDown => {
                helenus_storage::sometimes!("a peer went down");
                let address = self.picture.load().view.member(host_id).map(|member| member.address.clone());
                tracing::warn!(host = %host_id, state = "down", address, %error, "peer is down");
            }
            SignOfDeath::Outdated => {
                helenus_storage::sometimes!("an old call failed after a newer one was answered");
                self.call_soon(host_id);
            }
        }
    }

    /// A probe of a member has ended: whether this node or one that it asked has reached it. Whether it is taken for
    /// dead since.
    pub(crate) fn on_probe(&self, host_id: HostId, is_reached: bool) -> bool {
        let verdict = self.hearsay.on_probe(host_id, is_reached);
        let address = || self.picture.load().view.member(host_id).map(|member| member.address.clone());
        match verdict {
            Verdict::Unchanged | Verdict::Again => return false,
            Verdict::Acquitted => {
                helenus_storage::sometimes!("a peer that was taken for dead lives");
                tracing::info!(host = %host_id, state = "alive", address = address(), "peer is alive after all");
                self.call_soon(host_id);
                return false;
            }
            Verdict::Convicted => {}
        }
        let was_up = self.liveness.write().on_conviction(host_id);
        if was_up {
            helenus_storage::sometimes!("a silent peer was convicted");
        }
        let (phi, silence) = self.hearsay.suspicion(host_id).unwrap_or_default();
        tracing::warn!(
            host = %host_id,
            state = "dead",
            address = address(),
            phi = (phi * 10.0).round() / 10.0,
            silent_ms = millis(silence),
            failed_probes = self.hearsay.failed_probes(host_id),
            "peer is dead: neither this node nor others reach it"
        );
        true
    }
}
