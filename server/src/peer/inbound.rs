//! One connection of another node, from its greeting to its end.
//!
//! Generic over the stream: TCP comes in its own two halves; TLS will come through `tokio::io::split`.

use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt, poll};
use helenus_cluster::{
    message::{Header, Message, ReplicaError, Request, Response},
    node_id::ClusterId,
    wire::{self, Encoded, WireError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{
    codec::FramedRead,
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{
    client::GreetingProvider,
    frame::{Frame, FrameCodec, FrameError, FrameKind, FrameWriter},
    greeting::{HandshakeError, welcome},
    listener::{Answerer, Counters, EndListener},
    refusals::Refusals,
    settings::PeerSettings,
};

/// Answers that a writer takes from its queue at once.
const WRITER_BATCH: usize = 256;

/// What all inbound connections share.
pub(super) struct Inbound {
    pub(super) greeting: GreetingProvider,
    pub(super) answer: Answerer,
    pub(super) ended: EndListener,
    pub(super) settings: PeerSettings,
    pub(super) refusals: Refusals,
    /// Read no more.
    pub(super) stop: CancellationToken,
    /// Drop everything.
    pub(super) kill: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) counters: Arc<Counters>,
}

/// An answer on its way out. It keeps its request's place until it is in the write buffer, so that a peer which
/// does not read its answers is not asked for more requests.
struct Answer {
    frame: Frame,
    _place: OwnedSemaphorePermit,
}

/// Whether both ends still are of one cluster.
///
/// A node without a cluster talks to every cluster of its name, and its connections outlive that. Without a second
/// look, a cluster that once listed it as joining would go on writing to it after it has joined another one.
struct Kinship {
    /// The cluster of the other end when it greeted.
    theirs: Option<ClusterId>,
    /// Whether this node belongs to that cluster, which it does for ever.
    is_settled: bool,
}

impl Kinship {
    /// Exchanges pass: they name their cluster themselves, and are how a node learns of one. So does a node that had
    /// no cluster: it knew nobody to send requests to, and greets anew for the first of them.
    fn allows(&mut self, request: &Request, greeting: &GreetingProvider) -> bool {
        if self.is_settled || matches!(request, Request::Exchange(_)) {
            return true;
        }
        let (Some(ours), Some(theirs)) = (greeting().cluster_id, self.theirs) else { return true };
        self.is_settled = ours == theirs;
        self.is_settled
    }
}

/// Why no further request is read.
enum End {
    Closed,
    Stopping,
    Damaged(String),
}

impl Inbound {
    /// Counts and logs a connection whose handshake failed.
    pub(super) fn turn_away(&self, peer: SocketAddr, error: &HandshakeError) {
        let counter = match error {
            HandshakeError::Refused(_) => &self.counters.refused,
            _ => &self.counters.strangers,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.say(peer, error.name(), error);
    }

    /// Logs why a connection was not taken, once per minute for the same peer and kind of reason.
    pub(super) fn say(&self, peer: SocketAddr, kind: &'static str, reason: &dyn Display) {
        if self.refusals.may_say(peer.ip().to_string(), kind, Instant::now()) {
            tracing::warn!(%peer, %reason, "connection of a peer not taken");
        }
    }
}

/// Serves one connection until it ends or the listener stops.
pub(super) async fn serve<R, W>(reader: R, writer: W, peer: SocketAddr, inbound: Arc<Inbound>)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let settings = &inbound.settings;
    let ours = (inbound.greeting)();
    let welcomed = welcome(reader, writer, &ours, settings.max_frame_bytes, settings.handshake_timeout);
    let mut greeted = match inbound.stop.run_until_cancelled(welcomed).await {
        None => return,
        Some(Ok(greeted)) => greeted,
        Some(Err(error)) => {
            inbound.turn_away(peer, &error);
            return;
        }
    };
    inbound.counters.accepted.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, host_id = %greeted.theirs.host_id, "connection of a peer taken");

    let (answers, outgoing) = mpsc::channel(settings.concurrent_requests);
    let mut writer = AbortOnDropHandle::new(tokio::spawn(write_answers(greeted.writer, outgoing)));
    let kinship = Kinship { theirs: greeted.theirs.cluster_id, is_settled: false };
    let end = tokio::select! {
        end = read_requests(&mut greeted.frames, answers, kinship, &inbound) => end,
        _ = &mut writer => End::Closed,
    };
    (inbound.ended)(greeted.theirs.host_id);
    match end {
        End::Closed => tracing::debug!(%peer, "connection of a peer closed"),
        End::Damaged(reason) => {
            inbound.counters.damaged.fetch_add(1, Ordering::Relaxed);
            if inbound.refusals.may_say(peer.ip().to_string(), "damaged", Instant::now()) {
                tracing::warn!(%peer, host_id = %greeted.theirs.host_id, reason, "connection of a peer cut");
            }
        }
        // Ends when the last answer is written: the tasks that make them hold the other end of its queue.
        End::Stopping => drop(writer.await),
    }
}

async fn read_requests<R>(
    frames: &mut FramedRead<R, FrameCodec>,
    answers: mpsc::Sender<Answer>,
    mut kinship: Kinship,
    inbound: &Arc<Inbound>,
) -> End
where
    R: AsyncRead + Unpin,
{
    let settings = &inbound.settings;
    // One semaphore bounds both count and bytes: a small request takes as much as the count allows for each.
    let least = settings.concurrent_bytes / settings.concurrent_requests;
    let most = settings.concurrent_bytes;
    let places = Arc::new(Semaphore::new(most));
    loop {
        let next = tokio::select! {
            biased;
            () = inbound.stop.cancelled() => return End::Stopping,
            next = frames.next() => next,
        };
        let frame = match next {
            None | Some(Err(FrameError::Io(_))) => return End::Closed,
            Some(Err(error)) => return End::Damaged(error.to_string()),
            Some(Ok(frame)) if frame.kind == FrameKind::Request => frame,
            Some(Ok(frame)) => return End::Damaged(format!("a frame of kind {:?}", frame.kind)),
        };
        inbound.counters.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = (frame.head.len() + frame.payload.len()).max(least).clamp(1, most);
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let place = tokio::select! {
            biased;
            () = inbound.kill.cancelled() => return End::Stopping,
            place = Arc::clone(&places).acquire_many_owned(wanted) => place,
        };
        let Ok(place) = place else { return End::Closed };
        match wire::decode_request(Encoded { head: frame.head, payload: frame.payload }) {
            Ok(request) if !kinship.allows(&request.body, &inbound.greeting) => {
                return End::Damaged("this node has joined another cluster since it was greeted".to_owned());
            }
            Ok(request) => begin_answer(request, frame.correlation, place, &answers, inbound).await,
            Err(WireError::Unsupported { verb, version, header }) => {
                let error = ReplicaError::Unsupported { verb, version };
                let response = failed(inbound, &header, error);
                let frame = response_frame(&response, frame.correlation, settings.max_frame_bytes);
                if answers.send(Answer { frame, _place: place }).await.is_err() {
                    return End::Closed;
                }
            }
            Err(error) => return End::Damaged(error.to_string()),
        }
    }
}

/// Answers on the spot what needs no wait, such as a read from memory: a task would cost more than the answer. All
/// else gets a task, so that the slow ones do not hold up the others.
async fn begin_answer(
    request: Message<Request>,
    correlation: u64,
    place: OwnedSemaphorePermit,
    answers: &mpsc::Sender<Answer>,
    inbound: &Arc<Inbound>,
) {
    let mut answering = (inbound.answer)(request);
    let max_frame_bytes = inbound.settings.max_frame_bytes;
    if let Poll::Ready(response) = poll!(&mut answering) {
        let frame = response_frame(&response, correlation, max_frame_bytes);
        // There is room for an answer to each request that has a place.
        let _ = answers.send(Answer { frame, _place: place }).await;
        return;
    }
    let (kill, answers) = (inbound.kill.clone(), answers.clone());
    inbound.tasks.spawn(async move {
        let Some(response) = kill.run_until_cancelled(answering).await else { return };
        let frame = response_frame(&response, correlation, max_frame_bytes);
        // An error means that the connection is gone, and with it whoever waited.
        let _ = answers.send(Answer { frame, _place: place }).await;
    });
}

/// Writes answers as they come, many at once, until there can be no more.
async fn write_answers<W>(mut writer: FrameWriter<W>, mut outgoing: mpsc::Receiver<Answer>)
where
    W: AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    while outgoing.recv_many(&mut batch, WRITER_BATCH).await > 0 {
        // Each request under way holds a sender, and so does the reader: with more than these, one turn for those
        // that can go on saves most of the writes.
        if outgoing.sender_strong_count() > 2 {
            tokio::task::yield_now().await;
        }
        while batch.len() < WRITER_BATCH
            && let Ok(answer) = outgoing.try_recv()
        {
            batch.push(answer);
        }
        for answer in batch.drain(..) {
            let gathered = writer.gather(&answer.frame);
            debug_assert!(gathered.is_ok(), "answers that are too long were replaced before: {gathered:?}");
            drop(answer);
            if writer.is_full() && writer.flush().await.is_err() {
                return;
            }
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
    // The last words; whether they arrive is the other side's to notice.
    let _ = writer.shutdown().await;
}

fn response_frame(response: &Message<Response>, correlation: u64, max: usize) -> Frame {
    let mut encoded = wire::encode_response(response);
    let length = encoded.head.len() + encoded.payload.len();
    if length > max {
        let reason = format!("an answer of {length} bytes exceeds the bound of {max}");
        let header = response.header.clone();
        let body = Response::Failed(ReplicaError::Overloaded(reason));
        encoded = wire::encode_response(&Message { header, body });
    }
    let Encoded { head, payload } = encoded;
    Frame { kind: FrameKind::Response, correlation, head, payload }
}

/// The answer to a request whose body this build does not know.
fn failed(inbound: &Inbound, theirs: &Header, error: ReplicaError) -> Message<Response> {
    let ours = (inbound.greeting)();
    let header = Header {
        sender: ours.host_id,
        generation: ours.generation,
        target: Some(theirs.sender),
        remaining: Duration::ZERO,
        steps: Vec::new(),
        ..theirs.clone()
    };
    Message { header, body: Response::Failed(error) }
}
