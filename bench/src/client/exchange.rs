//! A client: its connection, kept alive, and where it goes when that breaks.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    connection::Connection,
    endpoint::Endpoint,
    outcome::Judgement,
    protocol::{Protocol, Request},
    reply::Reply,
    routes::Routes,
};

/// How long a client stays away from an endpoint that refused it.
const AWAY: Duration = Duration::from_secs(1);

/// A connection that was idle for longer is not used again: the server may be about to close it.
const FRESH: Duration = Duration::from_secs(30);

/// One client of a cluster. It has a home among the endpoints, so that clients are spread evenly; with [`Routes`] it goes to
/// replicas of the key: home if that is one, else the first. While an endpoint does not take connections it goes to the
/// next that does, and comes back after a second.
#[derive(Debug)]
pub struct Client {
    protocol: Arc<Protocol>,
    endpoints: Arc<[Endpoint]>,
    routes: Option<Arc<Routes>>,
    home: usize,
    /// One for each endpoint.
    links: Vec<Link>,
    /// The endpoint of the last operation.
    at: usize,
    request: Vec<u8>,
    reply: Option<Reply>,
    patience: Duration,
}

/// What a client has with an endpoint.
#[derive(Debug, Default)]
struct Link {
    connection: Option<Connection>,
    refused: Option<Instant>,
}

impl Link {
    fn is_away(&self) -> bool {
        self.refused.is_some_and(|refused| refused.elapsed() < AWAY)
    }
}

impl Client {
    /// The `number`th client; `endpoints` is not empty. An operation that takes longer than `patience` is a timeout.
    #[must_use]
    pub fn new(
        protocol: Arc<Protocol>,
        endpoints: Arc<[Endpoint]>,
        routes: Option<Arc<Routes>>,
        number: usize,
        patience: Duration,
    ) -> Self {
        let home = number % endpoints.len();
        let links = endpoints.iter().map(|_| Link::default()).collect();
        Self {
            protocol,
            endpoints,
            routes,
            home,
            links,
            at: home,
            request: Vec::new(),
            reply: None,
            patience,
        }
    }

    /// Connects to home, so that the first operation need not.
    ///
    /// # Errors
    /// If no endpoint takes the connection in time.
    pub async fn connect(&mut self) -> Result<(), Judgement> {
        self.reach(self.home).await
    }

    /// Does an operation, once.
    pub async fn perform(&mut self, request: Request<'_>) -> Judgement {
        self.reply = None;
        if let Err(refusal) = self.reach(self.preferred(request.key())).await {
            return refusal;
        }
        let place = &mut self.links[self.at].connection;
        let Some(connection) = place else { return Judgement::silence() };
        self.protocol.write(&self.endpoints[self.at].authority, request, &mut self.request);
        match timeout(self.patience, connection.exchange(&self.request)).await {
            Ok(Ok(reply)) => {
                let judgement = self.protocol.judge(request, reply.code, connection.body(&reply));
                if reply.keeps_alive {
                    self.reply = Some(reply);
                } else {
                    *place = None;
                }
                judgement
            }
            Ok(Err(error)) => {
                *place = None;
                Judgement::broken(&error)
            }
            Err(_) => {
                *place = None;
                Judgement::silence()
            }
        }
    }

    /// The endpoint for a key.
    fn preferred(&self, key: &str) -> usize {
        let replicas = self.routes.as_ref().map_or(&[][..], |routes| routes.replicas(key));
        if replicas.contains(&self.home) { self.home } else { *replicas.first().unwrap_or(&self.home) }
    }

    /// Has a connection to `first`, or else to the next endpoint that takes one.
    async fn reach(&mut self, first: usize) -> Result<(), Judgement> {
        self.at = first;
        if self.links[first].connection.as_ref().is_some_and(|connection| connection.idle() < FRESH) {
            return Ok(());
        }
        let count = self.endpoints.len();
        let mut order: Vec<usize> = (0..count).map(|step| (first + step) % count).collect();
        order.sort_by_key(|&at| self.links[at].is_away());
        let mut refusal = Judgement::silence();
        for at in order {
            self.at = at;
            let link = &mut self.links[at];
            if link.connection.as_ref().is_some_and(|connection| connection.idle() < FRESH) {
                return Ok(());
            }
            match timeout(self.patience, Connection::open(&self.endpoints[at])).await {
                Ok(Ok(connection)) => {
                    *link = Link { connection: Some(connection), refused: None };
                    return Ok(());
                }
                Ok(Err(error)) => refusal = Judgement::broken(&error),
                Err(_) => refusal = Judgement::silence(),
            }
            *link = Link { connection: None, refused: Some(Instant::now()) };
        }
        Err(refusal)
    }

    /// The value in the reply to the last operation, if that was a get; nothing if there is none.
    #[must_use]
    pub fn value(&self) -> Cow<'_, [u8]> {
        match (&self.links[self.at].connection, &self.reply) {
            (Some(connection), Some(reply)) => self.protocol.value(connection.body(reply)),
            _ => Cow::Borrowed(&[]),
        }
    }
}
