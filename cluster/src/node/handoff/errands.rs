//! Deliveries of hints as the log tells of them: from a target's first turn to the one after which none are left.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{node::steps::millis, node_id::HostId};

/// Those under way.
#[derive(Debug, Default)]
pub(super) struct Errands(BTreeMap<HostId, Errand>);

#[derive(Debug)]
struct Errand {
    begun: Instant,
    delivered: u64,
}

impl Errands {
    /// A turn of a target begins, for which so many hints wait.
    pub(super) fn begin(&mut self, target: HostId, hints: u64) {
        self.0.entry(target).or_insert_with(|| {
            tracing::info!(host = %target, hints, "delivering hints");
            Errand { begun: Instant::now(), delivered: 0 }
        });
    }

    /// A turn has ended, in which so many were delivered.
    pub(super) fn count(&mut self, target: HostId, delivered: u64) {
        if let Some(errand) = self.0.get_mut(&target) {
            errand.delivered += delivered;
        }
    }

    /// There is nothing to deliver any more, and so many hints are left.
    pub(super) fn end(&mut self, target: HostId, left: u64) {
        if let Some(Errand { begun, delivered }) = self.0.remove(&target) {
            let elapsed_ms = millis(begun.elapsed());
            tracing::info!(host = %target, delivered, left, elapsed_ms, "delivered hints");
        }
    }
}
