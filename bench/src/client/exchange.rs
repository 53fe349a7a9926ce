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
};

/// How long a client stays away from an endpoint that refused it.
const AWAY: Duration = Duration::from_secs(1);

/// One client of a cluster. It has a home among the endpoints, so that clients are spread evenly; while home does not take
/// connections it goes to the next endpoint that does, and returns after a second.
#[derive(Debug)]
pub struct Client {
    protocol: Arc<Protocol>,
    endpoints: Arc<[Endpoint]>,
    home: usize,
    at: usize,
    connection: Option<Connection>,
    left_home: Option<Instant>,
    request: Vec<u8>,
    reply: Option<Reply>,
    patience: Duration,
}

impl Client {
    /// The `number`th client; `endpoints` is not empty. An operation that takes longer than `patience` is a timeout.
    #[must_use]
    pub fn new(
        protocol: Arc<Protocol>,
        endpoints: Arc<[Endpoint]>,
        number: usize,
        patience: Duration,
    ) -> Self {
        let home = number % endpoints.len();
        let (connection, left_home, reply) = (None, None, None);
        Self {
            protocol,
            endpoints,
            home,
            at: home,
            connection,
            left_home,
            request: Vec::new(),
            reply,
            patience,
        }
    }

    /// Connects, so that the first operation need not.
    ///
    /// # Errors
    /// If no endpoint takes the connection in time.
    pub async fn connect(&mut self) -> Result<(), Judgement> {
        if self.left_home.is_some_and(|left| left.elapsed() >= AWAY) {
            self.left_home = None;
            if self.at != self.home {
                self.connection = None;
            }
        }
        if self.connection.is_some() {
            return Ok(());
        }
        let count = self.endpoints.len();
        let first = if self.left_home.is_some() { self.at } else { self.home };
        let mut refusal = Judgement::silence();
        for at in (0..count).map(|step| (first + step) % count) {
            match timeout(self.patience, Connection::open(&self.endpoints[at])).await {
                Ok(Ok(connection)) => {
                    self.connection = Some(connection);
                    self.at = at;
                    return Ok(());
                }
                Ok(Err(error)) => refusal = Judgement::broken(&error),
                Err(_) => refusal = Judgement::silence(),
            }
            if at == self.home {
                self.left_home = Some(Instant::now());
            }
        }
        Err(refusal)
    }

    /// Does an operation, once.
    pub async fn perform(&mut self, request: Request<'_>) -> Judgement {
        self.reply = None;
        if let Err(refusal) = self.connect().await {
            return refusal;
        }
        let Some(connection) = &mut self.connection else { return Judgement::silence() };
        self.protocol.write(&self.endpoints[self.at].authority, request, &mut self.request);
        match timeout(self.patience, connection.exchange(&self.request)).await {
            Ok(Ok(reply)) => {
                let judgement = self.protocol.judge(request, reply.code, connection.body(&reply));
                if reply.keeps_alive {
                    self.reply = Some(reply);
                } else {
                    self.connection = None;
                }
                judgement
            }
            Ok(Err(error)) => {
                self.connection = None;
                Judgement::broken(&error)
            }
            Err(_) => {
                self.connection = None;
                Judgement::silence()
            }
        }
    }

    /// The value in the reply to the last operation, if that was a get; nothing if there is none.
    #[must_use]
    pub fn value(&self) -> Cow<'_, [u8]> {
        match (&self.connection, &self.reply) {
            (Some(connection), Some(reply)) => self.protocol.value(connection.body(reply)),
            _ => Cow::Borrowed(&[]),
        }
    }
}
