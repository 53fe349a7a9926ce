//! One connection to one peer for one class of traffic: made when first needed, made anew after a loss, given up
//! when nobody needs it.
//!
//! The task of a link writes; a second one, which it owns, reads. Both end with the connection, and whichever
//! fails first ends the other.

use std::{io, sync::Arc};

use futures_util::StreamExt;
use helenus_cluster::{
    message::TrafficClass,
    node::transport::{CallError, Destination},
    wire::{self, Encoded},
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::{codec::FramedRead, task::AbortOnDropHandle};

use super::{
    backoff::Backoff,
    client::Shared,
    frame::{Frame, FrameCodec, FrameError, FrameKind, FrameWriter, WRITE_BYTES},
    greeting::{Greeted, HandshakeError, greet},
    outbox::{Outbox, Outgoing},
    socket,
};

type Connected = Greeted<OwnedReadHalf, OwnedWriteHalf>;

/// A connection, made or to be made.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) destination: Destination,
    pub(super) class: TrafficClass,
    /// Where to connect to: the destination's address, or the route that replaces it.
    pub(super) address: String,
    /// Shared by all links to the destination.
    pub(super) backoff: Arc<Mutex<Backoff>>,
    pub(super) outbox: Arc<Outbox>,
}

/// Why a conversation ended.
enum End {
    Lost(String),
    Idle,
    Stopped,
}

impl Link {
    /// The life of the link's task.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        loop {
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => break,
                () = self.outbox.work.notified() => {}
                () = tokio::time::sleep(shared.settings.idle_timeout) => {
                    if shared.retire(&self) {
                        return;
                    }
                }
            }
            if !self.outbox.begin_connecting() {
                continue;
            }
            let attempt = tokio::select! {
                biased;
                () = shared.stop.cancelled() => break,
                attempt = self.connect(&shared) => attempt,
            };
            match attempt {
                Err(error) => {
                    let what = match &error {
                        CallError::Refused(_) => "refused",
                        CallError::WrongHost { .. } => "wrong host",
                        _ => "unreachable",
                    };
                    if shared.refusals.may_say(&self.address, what, Instant::now()) {
                        tracing::warn!(peer = %self.address, class = self.class.name(), %error, "no connection to peer");
                    }
                    self.backoff.lock().failed(Instant::now(), error.clone());
                    self.outbox.disconnected(&error, &error.to_string());
                }
                Ok(connected) => {
                    self.backoff.lock().succeeded();
                    match self.converse(connected, &shared).await {
                        End::Lost(reason) => self.lost(&reason, &shared),
                        End::Idle => return,
                        End::Stopped => break,
                    }
                }
            }
        }
        self.outbox.stopped(&self.unreachable("this node is stopping"));
    }

    async fn connect(&self, shared: &Shared) -> Result<Connected, CallError> {
        let settings = &shared.settings;
        let stream = tokio::time::timeout(settings.connect_timeout, dial(&self.address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|stream| socket::prepare(&stream, settings.silence_timeout).map(|()| stream))
            .map_err(|error| self.unreachable(&error.to_string()))?;
        let (reader, writer) = stream.into_split();
        let ours = (shared.greeting)();
        let greeted =
            greet(reader, writer, self.class, &ours, settings.max_frame_bytes, settings.handshake_timeout)
                .await;
        let connected = greeted.map_err(|error| match error {
            HandshakeError::Refused(refusal) => CallError::Refused(refusal),
            other => self.unreachable(&other.to_string()),
        })?;
        let found = connected.theirs.host_id;
        match self.destination.host_id {
            Some(expected) if expected != found => {
                Err(CallError::WrongHost { address: self.address.clone(), expected, found })
            }
            _ => {
                tracing::debug!(peer = %self.address, host_id = %found, class = self.class.name(), "connected to peer");
                Ok(connected)
            }
        }
    }

    /// Sends what is asked for until the connection ends.
    async fn converse(self: &Arc<Self>, connected: Connected, shared: &Shared) -> End {
        let Greeted { frames, mut writer, .. } = connected;
        let mut reader = AbortOnDropHandle::new(tokio::spawn(read_answers(Arc::clone(&self.outbox), frames)));
        let idle_timeout = shared.settings.idle_timeout;
        let mut idle = interval_at(Instant::now() + idle_timeout, idle_timeout);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let now = Instant::now();
            self.outbox.take(WRITE_BYTES, now, &mut batch);
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = shared.stop.cancelled() => return End::Stopped,
                    why = &mut reader => return End::Lost(why.unwrap_or_else(|error| error.to_string())),
                    () = self.outbox.work.notified() => {
                        // With others under way more is about to be asked: one turn for the callers that can go
                        // on saves most of the writes. Alone, it would only cost time.
                        if self.outbox.is_shared() {
                            tokio::task::yield_now().await;
                        }
                    }
                    _ = idle.tick() => {
                        if shared.retire(self) {
                            return End::Idle;
                        }
                    }
                }
                continue;
            }
            for outgoing in batch.drain(..) {
                self.gather(outgoing, now, &mut writer, shared);
            }
            tokio::select! {
                biased;
                written = writer.flush() => {
                    if let Err(error) = written {
                        return End::Lost(error.to_string());
                    }
                }
                why = &mut reader => return End::Lost(why.unwrap_or_else(|error| error.to_string())),
                () = shared.stop.cancelled() => return End::Stopped,
            }
        }
    }

    fn gather(
        &self,
        outgoing: Outgoing,
        now: Instant,
        writer: &mut FrameWriter<OwnedWriteHalf>,
        shared: &Shared,
    ) {
        let Outgoing { correlation, mut message, deadline } = outgoing;
        message.header.remaining = deadline.saturating_duration_since(now);
        let Encoded { head, payload } = wire::encode_request(&message);
        let gathered = writer.gather(&Frame { kind: FrameKind::Request, correlation, head, payload });
        if let Err(error) = gathered {
            if shared.refusals.may_say(&self.address, "not sent", now) {
                tracing::warn!(peer = %self.address, %error, "request not sent");
            }
            self.outbox.complete(correlation, Err(CallError::Overloaded));
        }
    }

    fn lost(&self, reason: &str, shared: &Shared) {
        let subject = format!("{} {}", self.address, self.class.name());
        if shared.refusals.may_say(subject, "lost", Instant::now()) {
            tracing::info!(peer = %self.address, class = self.class.name(), reason, "connection to peer lost");
        }
        self.outbox.disconnected(&self.unreachable(reason), reason);
        // Last: whoever calls because of it finds the connection absent, and makes a new one.
        shared.note_loss(&self.destination);
    }

    fn unreachable(&self, reason: &str) -> CallError {
        CallError::Unreachable { address: self.address.clone(), reason: reason.to_owned() }
    }
}

/// Connects to the first address of a name that takes the connection.
async fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Hands answers to their callers until the connection ends, and says why it did.
async fn read_answers(outbox: Arc<Outbox>, mut frames: FramedRead<OwnedReadHalf, FrameCodec>) -> String {
    loop {
        match frames.next().await {
            Some(Ok(Frame { kind: FrameKind::Response, correlation, head, payload })) => {
                outbox.complete(correlation, Ok(Encoded { head, payload }));
            }
            Some(Ok(frame)) => return FrameError::UnknownKind(frame.kind as u8).to_string(),
            Some(Err(error)) => return error.to_string(),
            None => return "the peer has closed it".to_owned(),
        }
    }
}
