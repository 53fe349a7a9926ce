//! The other end of forwarded writes: sending them on, and acknowledging them to whom they came from.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    message::{Applied, Header, Relay, Request, Step, TrafficClass, Writes},
    node::{peers::Peers, request_counters::Counters},
    node_id::HostId,
    table::replication::MAX_FACTOR,
};

/// Sends writes on for the coordinators of other datacenters.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(super) peers: Arc<Peers>,
    pub(super) counters: Arc<Counters>,
    /// One permit per message that is sent on; what finds none is left to the coordinator's patience.
    pub(super) under_way: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) stop: CancellationToken,
}

impl Forwarder {
    /// Sends writes on in the background, as long as somebody waits for them.
    pub(super) fn forward(
        &self,
        header: &Header,
        writes: &Writes,
        must_win: &[bool],
        to: Vec<HostId>,
        ticket: u64,
    ) {
        let deadline = Instant::now() + header.remaining;
        let picture = self.peers.cluster.picture();
        for host_id in to.into_iter().take(MAX_FACTOR as usize) {
            let Some(destination) = picture.destination(host_id) else { continue };
            let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() else {
                helenus_storage::sometimes!("a write was not forwarded");
                self.counters.not_forwarded.add(1);
                continue;
            };
            let (peers, stop, about) = (Arc::clone(&self.peers), self.stop.clone(), header.client_request);
            let relay = Relay::Acknowledge { coordinator: header.sender, ticket };
            let request = Request::Write { writes: Arc::clone(writes), relay, must_win: must_win.to_vec() };
            self.tasks.spawn_on(
                async move {
                    let call = peers.call(&destination, TrafficClass::Request, request, deadline, about);
                    // The coordinator hears from the other one itself; that it does not is its business too.
                    tokio::select! {
                        biased;
                        _ = call => {}
                        () = stop.cancelled() => {}
                    }
                    drop(permit);
                },
                &self.runtime,
            );
        }
    }

    /// Tells the coordinator what became of writes that were forwarded to this node, and by which steps. What is lost
    /// on the way looks to it as if this node had said nothing.
    pub(super) async fn acknowledge(
        &self,
        header: &Header,
        coordinator: HostId,
        ticket: u64,
        results: Vec<Applied>,
        steps: Vec<Step>,
    ) {
        let Some(destination) = self.peers.cluster.picture().destination(coordinator) else { return };
        let request = Request::Acknowledge { ticket, results };
        let deadline = Instant::now() + header.remaining;
        let told = self.peers.call_telling(&destination, request, deadline, header, steps).await;
        if told.is_err() {
            helenus_storage::sometimes!("an acknowledgement was lost");
        }
    }
}
