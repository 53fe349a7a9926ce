//! The steps of one request, for the client that asked to see them, and for the log if it was slow: then, of a request
//! that nobody traced, those that came late ([`crate::node::steps`]).
//!
//! A traced request carries an id to its replicas; each sends its own steps along with its answer, and how long after the
//! request came to it each of them was. Clocks of two nodes cannot be compared to the microsecond, so the coordinator
//! places the steps of a replica as if the request had reached it in the moment when it was sent: they are early by the
//! time that it was on its way, and what lies between a replica's last step and the step that tells of its answer is the
//! way there and back. A replica that was sent a write by another one ([`super::forwarding`]) tells its steps with its
//! acknowledgement, and they are placed as if it had been sent the write together with the other. Steps of a replica that
//! answers after the client was answered, or not at all, are not seen.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    message::{ClientRequest, Message, Request, Response, Step, TrafficClass},
    node::{
        TraceEvent,
        peers::Peers,
        steps::{Steps, millis, told, wanted_after},
        transport::{CallError, Destination},
    },
    node_id::HostId,
};

/// With so many steps of a request no further ones are noted.
const MAX_EVENTS: usize = 1024;

/// Collects steps. Clones collect the same ones.
#[derive(Debug, Clone)]
pub(super) struct Trace(Arc<Log>);

/// What a request is, for the log.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Its kind.
    pub(super) operation: &'static str,
    /// Name of the table, or how many there are.
    pub(super) table: String,
}

#[derive(Debug)]
struct Log {
    begun: Instant,
    coordinator: HostId,
    request: ClientRequest,
    subject: Subject,
    /// A request that takes as long is slow.
    slow: Duration,
    /// Earlier steps are not noted.
    wanted_after: Duration,
    /// `None` once they were taken.
    events: Mutex<Option<Vec<TraceEvent>>>,
}

impl Trace {
    /// Begins now.
    pub(super) fn begin(
        coordinator: HostId,
        request: ClientRequest,
        subject: Subject,
        slow: Duration,
    ) -> Self {
        let wanted_after = wanted_after(request.is_traced, slow);
        let events = Mutex::new(Some(Vec::new()));
        let begun = Instant::now();
        Self(Arc::new(Log { begun, coordinator, request, subject, slow, wanted_after, events }))
    }

    /// Begins another part of the same request, which began when this one did, with steps of its own.
    pub(super) fn beside(&self) -> Self {
        let Log { begun, coordinator, request, ref subject, slow, wanted_after, .. } = *self.0;
        let (subject, events) = (subject.clone(), Mutex::new(Some(Vec::new())));
        Self(Arc::new(Log { begun, coordinator, request, subject, slow, wanted_after, events }))
    }

    /// As its replicas are told of it.
    pub(super) fn request(&self) -> ClientRequest {
        self.0.request
    }

    /// Notes a step of the coordinator's own.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        self.note_at(self.0.coordinator, what);
    }

    /// Notes what was just heard of `node`. The time is the coordinator's.
    pub(super) fn note_at(&self, node: HostId, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if now.duration_since(self.0.begun) >= self.0.wanted_after {
            self.with_events(|events| events.push(TraceEvent { at_us: self.at_us(now), node, what: what() }));
        }
    }

    /// The part of a replica, which is about to be asked.
    pub(super) fn part_of(&self, node: HostId) -> Part {
        Part { trace: self.clone(), node }
    }

    fn with_events(&self, change: impl FnOnce(&mut Vec<TraceEvent>)) {
        if let Some(events) = self.0.events.lock().as_mut()
            && events.len() < MAX_EVENTS
        {
            change(events);
        }
    }

    fn at_us(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.0.begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// Ends the request: no step is noted any more. Those that were, in the order of their times, if the client asked
    /// for them. A slow request is logged.
    pub(super) fn end(&self) -> Vec<TraceEvent> {
        // Of a group a part may go on when the others are told.
        let Some(mut events) = self.0.events.lock().take() else { return Vec::new() };
        // Steps of one moment stay as they were noted.
        events.sort_by_key(|event| event.at_us);
        let elapsed = self.0.begun.elapsed();
        if elapsed >= self.0.slow {
            let Subject { operation, table } = &self.0.subject;
            let (request_id, elapsed_ms) = (self.0.request, millis(elapsed));
            let trace = told(events.iter().map(|event| (event.at_us, Some(event.node), event.what.as_str())));
            tracing::warn!(%request_id, operation, table, elapsed_ms, trace, "slow request");
        }
        if self.0.request.is_traced { events } else { Vec::new() }
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
        let about = Some(self.trace.0.request);
        let Message { header, body } = peers.call_anyone(to, class, request, deadline, about).await?;
        self.place(sent, header.steps);
        Ok(body)
    }

    /// Begins what this node does itself.
    pub(super) fn begin(&self) -> Steps {
        Steps::begin(self.trace.0.wanted_after)
    }

    /// Ends what this node has done itself.
    pub(super) fn end(self, steps: Steps) {
        let (begun, steps) = steps.end();
        self.place(begun, steps);
    }

    /// Places the steps of the replica, which was asked at `begun`.
    pub(super) fn place(self, begun: Instant, steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let begun_us = self.trace.at_us(begun);
        let placed = steps.into_iter().map(|Step { after_us, what }| TraceEvent {
            at_us: begun_us.saturating_add(after_us),
            node: self.node,
            what,
        });
        self.trace.with_events(|events| events.extend(placed));
    }
}
