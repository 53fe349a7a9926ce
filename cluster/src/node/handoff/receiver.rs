//! Takes the hints that other nodes kept for this one.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesOrdered};
use helenus_storage::{Mutation, TableId, engine::Pressure};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::runs::Hints;
use crate::{
    handoff::{Grant, Grants, grants::Room},
    message::ReplicaError,
    node::replica::Replica,
    node_id::HostId,
};

/// The receiving side of one node.
#[derive(Debug)]
pub(crate) struct Receiver {
    hints: Arc<Hints>,
    replica: Arc<Replica>,
    grants: Mutex<Grants>,
}

impl Receiver {
    pub(crate) fn new(hints: Arc<Hints>, replica: Arc<Replica>) -> Self {
        Self { hints, replica, grants: Mutex::default() }
    }

    /// Applies hints; how many of them, from the first on, were applied, and what the sender may send next.
    pub(crate) async fn receive(&self, sender: HostId, hints: Vec<(TableId, Mutation)>) -> (usize, Grant) {
        // All are queued before the first is awaited: one group, one sync.
        let mut applies: FuturesOrdered<_> =
            hints.into_iter().map(|(table, mutation)| self.replica.apply_hint(table, mutation)).collect();
        let (mut applied, mut is_short_of_room) = (0, false);
        while let Some(outcome) = applies.next().await {
            match outcome {
                Ok(()) => applied += 1,
                Err(error) => {
                    helenus_storage::sometimes!("a hint could not be applied");
                    tracing::debug!(host = %sender, %error, "a hint was not applied");
                    is_short_of_room = matches!(
                        error,
                        ReplicaError::Overloaded(_)
                            | ReplicaError::StorageFull(_)
                            | ReplicaError::NotServing(_)
                    );
                    break;
                }
            }
        }
        self.hints.counted.received(applied as u64);
        let room = match self.replica.store.engine().pressure() {
            // So that the sender blames no hint for it.
            _ if is_short_of_room => Room::None,
            Pressure::None => Room::Plenty,
            Pressure::Slow { delay } => Room::Scarce(delay),
            Pressure::Refused { .. } => Room::None,
        };
        let grant = self.grants.lock().grant(sender, Instant::now().into_std(), room);
        (applied, grant)
    }
}
