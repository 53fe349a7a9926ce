//! One message for each remote datacenter.
//!
//! ```text
//!                          datacenter 1 │ datacenter 2
//!                                       │
//!   coordinator ── Write, Forward ──────┼──> forwarder ── Write, Acknowledge ──> others
//!        ▲ ▲                            │       │                                  │
//!        │ └────────── Written ─────────┼───────┘                                  │
//!        └──────────── Acknowledge ─────┼──────────────────────────────────────────┘
//! ```
//!
//! A value crosses the link between two datacenters once, and acknowledgements come straight back: each is a call of its
//! own, with the ticket of the write, so that it waits for nobody and is lost with nobody but its sender. It works on
//! anything that can carry a call, the simulated network included. Rejected: the forwarder answering for all (it would be
//! as slow as the slowest of them, and its death would take their acknowledgements along); many answers to one call (a
//! second kind of call in every transport, for this alone).
//!
//! The forwarder can fail where a replica of its own would not. If its call fails, the others are sent the write
//! straight at once; if it says nothing for half of the time, they are too, as far as a budget goes that only writes
//! fill. What is applied twice is applied once, and acknowledged once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::trace::Part;
use crate::{
    message::{Applied, Step},
    node_id::HostId,
    quorum::Missing,
};

/// What a replica says of each of some writes, and its steps if they are traced.
type Acknowledged = (Vec<Applied>, Vec<Step>);

/// Acknowledgements that this node waits for as a coordinator, of writes that others forward for it.
#[derive(Debug)]
pub(crate) struct Forwarded {
    next_ticket: AtomicU64,
    /// As many as messages under way have replicas.
    awaited: Mutex<BTreeMap<(u64, HostId), oneshot::Sender<Acknowledged>>>,
}

impl Forwarded {
    /// Tickets begin where no earlier process of this node is likely to have begun.
    pub(super) fn new(first_ticket: u64) -> Self {
        Self { next_ticket: AtomicU64::new(first_ticket), awaited: Mutex::default() }
    }

    pub(super) fn ticket(&self) -> u64 {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins to wait for a replica's acknowledgement.
    pub(super) fn expect(self: &Arc<Self>, ticket: u64, from: HostId) -> Expected {
        let (sender, acknowledged) = oneshot::channel();
        self.awaited.lock().insert((ticket, from), sender);
        Expected { forwarded: Arc::clone(self), place: (ticket, from), acknowledged }
    }

    /// A replica has said what became of some writes. Nobody may wait for it any more.
    pub(crate) fn acknowledge(&self, ticket: u64, from: HostId, results: Vec<Applied>, steps: Vec<Step>) {
        if let Some(waiting) = self.awaited.lock().remove(&(ticket, from)) {
            // Whoever waits may give up in this moment.
            let _: Result<(), _> = waiting.send((results, steps));
        } else {
            helenus_storage::sometimes!("nobody waited for an acknowledgement");
        }
    }
}

/// An acknowledgement that is waited for, until it is dropped.
pub(super) struct Expected {
    forwarded: Arc<Forwarded>,
    place: (u64, HostId),
    acknowledged: oneshot::Receiver<Acknowledged>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.forwarded.awaited.lock().remove(&self.place);
    }
}

impl Expected {
    /// The acknowledgement, however it comes: of the forwarded writes, or of those that `send` sends straight once the
    /// forwarder has failed, or has said nothing until `patience` ends and it is `affordable` then. The steps of the
    /// forwarded one are placed as those of `part`.
    pub(super) fn or_straight(
        mut self,
        part: Part,
        forwarder_failed: CancellationToken,
        patience: Instant,
        affordable: impl FnOnce() -> bool + Send + 'static,
        send: BoxFuture<'static, Result<Vec<Applied>, Missing>>,
    ) -> BoxFuture<'static, Result<Vec<Applied>, Missing>> {
        let forwarded = Instant::now();
        let said = move |acknowledged: Result<Acknowledged, _>| {
            let (results, steps) = acknowledged.map_err(|_| Missing::Silence)?;
            part.place(forwarded, steps);
            Ok(results)
        };
        async move {
            let is_forwarder_lost = tokio::select! {
                biased;
                result = &mut self.acknowledged => return said(result),
                () = forwarder_failed.cancelled() => true,
                () = sleep_until(patience) => false,
            };
            if !is_forwarder_lost && !affordable() {
                return said((&mut self.acknowledged).await);
            }
            helenus_storage::sometimes!("a forwarded write was sent straight");
            tokio::select! {
                biased;
                result = &mut self.acknowledged => said(result),
                result = send => result,
            }
        }
        .boxed()
    }
}
