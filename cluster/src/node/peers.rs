//! Calls to other nodes: headers out, clocks and liveness in.
//!
//! Every call of the node goes through here, so that a lost connection is noticed once, wherever it shows first:
//! the peer is down from that moment, and a later request that needs it fails at once instead of waiting.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    message::{ClientRequest, Header, Message, Request, Response, Step, TrafficClass},
    node::{
        clock::NodeClock,
        identity::LocalIdentity,
        known_cluster::KnownCluster,
        transport::{CallError, Destination, Transport},
    },
    node_id::HostId,
};

/// The other nodes, as one node calls them.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) identity: Arc<LocalIdentity>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<KnownCluster>,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Peers {
    /// Calls a node and returns its answer, which is the answer of that very node.
    pub(crate) async fn call(
        &self,
        to: &Destination,
        class: TrafficClass,
        body: Request,
        deadline: Instant,
        client_request: Option<ClientRequest>,
    ) -> Result<Response, CallError> {
        self.call_anyone(to, class, body, deadline, client_request).await.map(|answer| answer.body)
    }

    /// As [`Peers::call`], telling what was done for the request that it belongs to.
    pub(crate) async fn call_telling(
        &self,
        to: &Destination,
        body: Request,
        deadline: Instant,
        request: &Header,
        steps: Vec<Step>,
    ) -> Result<Response, CallError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let header = self.header(to.host_id, request.class, remaining, request.client_request);
        let told = Message { header: Header { steps, ..header }, body };
        self.send(to, told, deadline).await.map(|answer| answer.body)
    }

    /// As [`Peers::call`], with the header that says who answered: for a seed nobody has met yet.
    pub(crate) async fn call_anyone(
        &self,
        to: &Destination,
        class: TrafficClass,
        body: Request,
        deadline: Instant,
        client_request: Option<ClientRequest>,
    ) -> Result<Message<Response>, CallError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let header = self.header(to.host_id, class, remaining, client_request);
        self.send(to, Message { header, body }, deadline).await
    }

    async fn send(
        &self,
        to: &Destination,
        message: Message<Request>,
        deadline: Instant,
    ) -> Result<Message<Response>, CallError> {
        let began = Instant::now();
        let result = self.transport.call(to, message, deadline).await;
        let result = result.and_then(|answer| match to.host_id {
            Some(expected) if expected != answer.header.sender => Err(CallError::WrongHost {
                address: to.address.clone(),
                expected,
                found: answer.header.sender,
            }),
            _ => Ok(answer),
        });
        match &result {
            Ok(answer) => self.clock.observe(answer.header.timestamp),
            Err(error) => {
                if let Some(host_id) = to.host_id {
                    self.cluster.on_failure(host_id, error, began);
                    if !self.cluster.is_up(host_id) {
                        self.clock.forget(host_id);
                    }
                }
            }
        }
        result
    }

    /// The header of an answer to `request`, with what was done for it.
    pub(crate) fn answer_header(&self, request: &Header, steps: Vec<Step>) -> Header {
        let header = self.header(Some(request.sender), request.class, Duration::ZERO, request.client_request);
        Header { steps, ..header }
    }

    fn header(
        &self,
        target: Option<HostId>,
        class: TrafficClass,
        remaining: Duration,
        client_request: Option<ClientRequest>,
    ) -> Header {
        let picture = self.cluster.picture();
        Header {
            sender: self.identity.host_id(),
            generation: self.identity.generation(),
            target,
            ring_version: picture.ring().version(),
            schema_version: picture.schema_version(),
            class,
            remaining,
            timestamp: self.clock.reading(),
            client_request,
            steps: Vec::new(),
        }
    }
}
