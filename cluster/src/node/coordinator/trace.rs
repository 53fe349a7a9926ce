//! The steps of one request, for the client that asked to see them.
//!
//! A traced request carries an id to its replicas; each sends its own steps along with its answer, and how long after the
//! request came to it each of them was. Clocks of two nodes cannot be compared to the microsecond, so the coordinator
//! places the steps of a replica as if the request had reached it in the moment when it was sent: they are early by the
//! time that it was on its way, and what lies between a replica's last step and the step that tells of its answer is the
//! way there and back. A replica that was sent a
//! write by another one ([`super::forwarding`]) tells its steps with its acknowledgement, and they are placed as if it had
//! been sent the write together with the other. Steps of a replica that answers after the client was answered, or not at
//! all, are not seen.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    message::{Message, Request, Response, Step, TrafficClass},
    node::{
        TraceEvent,
        peers::Peers,
        steps::Steps,
        transport::{CallError, Destination},
    },
    node_id::HostId,
};

/// With so many steps of a request no further ones are noted.
const MAX_EVENTS: usize = 1024;

/// Collects steps if it was asked to; costs nothing else. Clones collect the same ones.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    begun: Instant,
    coordinator: HostId,
    log: Option<Arc<Log>>,
}

#[derive(Debug)]
struct Log {
    id: u64,
    /// `None` once they were taken.
    events: Mutex<Option<Vec<TraceEvent>>>,
}

impl Trace {
    /// With the id of the request if its steps are wanted.
    pub(super) fn begin(coordinator: HostId, id: Option<u64>) -> Self {
        let log = id.map(|id| Arc::new(Log { id, events: Mutex::new(Some(Vec::new())) }));
        Self { begun: Instant::now(), coordinator, log }
    }

    /// Notes a step of the coordinator's own.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        self.note_at(self.coordinator, what);
    }

    /// Notes what was just heard of `node`. The time is the coordinator's.
    pub(super) fn note_at(&self, node: HostId, what: impl FnOnce() -> String) {
        self.with_events(|events| {
            events.push(TraceEvent { at_us: self.at_us(Instant::now()), node, what: what() });
        });
    }

    /// The part of a replica, which is about to be asked.
    pub(super) fn part_of(&self, node: HostId) -> Part {
        Part { trace: self.clone(), node }
    }

    fn with_events(&self, change: impl FnOnce(&mut Vec<TraceEvent>)) {
        if let Some(log) = &self.log
            && let Some(events) = log.events.lock().as_mut()
            && events.len() < MAX_EVENTS
        {
            change(events);
        }
    }

    fn at_us(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// The steps so far, taken out, in the order of their times; no others are noted any more.
    pub(super) fn take(&self) -> Vec<TraceEvent> {
        let mut events = self.log.as_ref().and_then(|log| log.events.lock().take()).unwrap_or_default();
        // Steps of one moment stay as they were noted.
        events.sort_by_key(|event| event.at_us);
        events
    }
}

/// The part of one replica in a request, by whose end its own steps are known.
#[derive(Debug)]
pub(super) struct Part {
    trace: Trace,
    node: HostId,
}

impl Part {
    /// Asks another node.
    pub(super) async fn call(
        self,
        peers: &Peers,
        to: &Destination,
        class: TrafficClass,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        let sent = Instant::now();
        let id = self.trace.log.as_ref().map(|log| log.id);
        let Message { header, body } = peers.call_anyone(to, class, request, deadline, id).await?;
        self.place(sent, header.steps);
        Ok(body)
    }

    /// Begins what this node does itself.
    pub(super) fn begin(&self) -> Steps {
        Steps::begin(self.trace.log.is_some())
    }

    /// Ends what this node has done itself.
    pub(super) fn end(self, steps: Steps) {
        if let (Some(begun), steps) = steps.end() {
            self.place(begun, steps);
        }
    }

    /// Places the steps of the replica, which was asked at `begun`.
    pub(super) fn place(self, begun: Instant, steps: Vec<Step>) {
        let begun_us = self.trace.at_us(begun);
        let placed = steps.into_iter().map(|Step { after_us, what }| TraceEvent {
            at_us: begun_us.saturating_add(after_us),
            node: self.node,
            what,
        });
        self.trace.with_events(|events| events.extend(placed));
    }
}
