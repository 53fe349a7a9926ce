//! The steps of one request, for the client that asked to see them.

use tokio::time::Instant;

use crate::{node::TraceEvent, node_id::HostId};

/// Collects steps if it was asked to; costs nothing else.
#[derive(Debug)]
pub(super) struct Trace {
    begun: Instant,
    coordinator: HostId,
    events: Option<Vec<TraceEvent>>,
}

impl Trace {
    pub(super) fn begin(coordinator: HostId, wanted: bool) -> Self {
        Self { begun: Instant::now(), coordinator, events: wanted.then(Vec::new) }
    }

    /// Notes a step of the coordinator's own.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.note_at(self.coordinator, what);
    }

    /// Notes a step that happened at `node`. Times are the coordinator's, so that they can be compared.
    pub(super) fn note_at(&mut self, node: HostId, what: impl FnOnce() -> String) {
        if let Some(events) = &mut self.events {
            let at_us = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            events.push(TraceEvent { at_us, node, what: what() });
        }
    }

    /// A trace with all steps so far; this one notes none any more.
    pub(super) fn hand_over(&mut self) -> Self {
        Self { begun: self.begun, coordinator: self.coordinator, events: self.events.take() }
    }

    /// The steps so far, taken out.
    pub(super) fn take(&mut self) -> Vec<TraceEvent> {
        self.events.take().unwrap_or_default()
    }
}
