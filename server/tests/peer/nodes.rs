//! Nodes of these tests: a listener with a given way to answer, a transport that calls it, a stranger that speaks
//! frames by hand.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant as WallInstant},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use helenus_cluster::{
    membership::handshake::{Greeting, PROTOCOL_VERSION},
    message::{ClientRequest, Header, Message, Receipt, Relay, Request, Response, TrafficClass},
    node::{
        Spawners,
        transport::{CallError, Destination, Transport},
    },
    node_id::{Generation, HostId},
    quorum::{AsOf, Wants},
    time::Timestamp,
};
use helenus_server::peer::{
    client::TcpTransport,
    frame::{Frame, FrameCodec, FrameKind},
    listener::{Answerer, EndListener, PeerListener},
    settings::PeerSettings,
};
use helenus_storage::{Mutation, Record, TableId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::Instant,
};
use tokio_util::codec::{Decoder, Encoder};
use uuid::Uuid;

pub(crate) const CALLER: HostId = HostId(Uuid::from_u128(1));
pub(crate) const ANSWERER: HostId = HostId(Uuid::from_u128(2));
pub(crate) const CLOCK: Timestamp = Timestamp(1_000_000);

pub(crate) fn greeting(host_id: HostId) -> Greeting {
    Greeting {
        protocol_version: PROTOCOL_VERSION,
        cluster_name: "troy".to_owned(),
        cluster_id: None,
        partitioner: "murmur3".to_owned(),
        host_id,
        generation: Generation(7),
    }
}

/// Timeouts and pauses fit for a test.
pub(crate) fn settings() -> PeerSettings {
    PeerSettings {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        handshake_timeout: Duration::from_millis(500),
        ..PeerSettings::default()
    }
}

pub(crate) fn answerer<F>(answer: F) -> Answerer
where
    F: Fn(Message<Request>) -> BoxFuture<'static, Message<Response>> + Send + Sync + 'static,
{
    Arc::new(answer)
}

/// Answers at once: a read with a record whose value is the key, the rest with what belongs to it.
pub(crate) fn echo() -> Answerer {
    answerer(|request| Box::pin(async move { answer_to(request) }))
}

/// Never answers.
pub(crate) fn mute() -> Answerer {
    answerer(|_| Box::pin(std::future::pending()))
}

pub(crate) fn answer_to(request: Message<Request>) -> Message<Response> {
    let body = match request.body {
        Request::Exchange(exchange) => Response::Exchange(exchange),
        Request::Write { writes, .. } => {
            Response::Written { results: vec![Ok(Receipt::PLAIN); writes.len()] }
        }
        Request::Read { key, as_of, .. } => Response::Record(Some(Record::plain(as_of.now, key))),
        other => panic!("these tests do not send {other:?}"),
    };
    let header = Header {
        sender: ANSWERER,
        target: Some(request.header.sender),
        remaining: Duration::ZERO,
        ..request.header
    };
    Message { header, body }
}

pub(crate) async fn listen(answer: Answerer) -> PeerListener {
    listen_with(answer, greeting(ANSWERER), &settings(), "127.0.0.1:0").await
}

pub(crate) async fn listen_with(
    answer: Answerer,
    greeting: Greeting,
    settings: &PeerSettings,
    address: &str,
) -> PeerListener {
    let socket = TcpListener::bind(address).await.unwrap();
    listen_telling(socket, greeting, answer, Arc::new(|_| {}), settings)
}

/// Tells whose connections have ended.
pub(crate) fn listen_telling(
    socket: TcpListener,
    greeting: Greeting,
    answer: Answerer,
    ended: EndListener,
    settings: &PeerSettings,
) -> PeerListener {
    PeerListener::start(socket, Arc::new(move || greeting.clone()), answer, ended, settings, &here()).unwrap()
}

pub(crate) fn transport() -> TcpTransport {
    transport_with(settings())
}

pub(crate) fn transport_with(settings: PeerSettings) -> TcpTransport {
    TcpTransport::new(Arc::new(|| greeting(CALLER)), settings, here())
}

/// All tasks on the runtime of the test.
pub(crate) fn here() -> Spawners {
    Spawners { requests: Handle::current(), membership: Handle::current() }
}

pub(crate) fn at(address: SocketAddr) -> Destination {
    Destination { host_id: Some(ANSWERER), address: address.to_string() }
}

pub(crate) fn to(listener: &PeerListener) -> Destination {
    at(listener.local_address())
}

pub(crate) fn in_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// Far enough that a test which gets there has failed.
pub(crate) fn far() -> Instant {
    in_ms(20_000)
}

pub(crate) fn request(body: Request) -> Message<Request> {
    let header = Header {
        sender: CALLER,
        generation: Generation(7),
        target: Some(ANSWERER),
        ring_version: 3,
        schema_version: 4,
        class: TrafficClass::Request,
        remaining: Duration::from_secs(3600),
        timestamp: CLOCK,
        client_request: Some(ClientRequest { id: 5, is_traced: true }),
        steps: Vec::new(),
    };
    Message { header, body }
}

pub(crate) fn read(key: impl Into<Bytes>) -> Message<Request> {
    request(Request::Read {
        table: TableId(1024),
        key: key.into(),
        as_of: AsOf { now: CLOCK, ..AsOf::default() },
        wants: Wants::Record,
    })
}

pub(crate) fn control(key: impl Into<Bytes>) -> Message<Request> {
    let mut message = read(key);
    message.header.class = TrafficClass::Control;
    message
}

pub(crate) fn write(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Message<Request> {
    let mutation = Mutation::single(key, Record::plain(CLOCK, value));
    request(Request::Write {
        writes: vec![(TableId(1024), mutation)].into(),
        relay: Relay::None,
        must_win: Vec::new(),
    })
}

/// The key that an echo has read.
pub(crate) fn echoed(answer: Result<Message<Response>, CallError>) -> Bytes {
    match answer.unwrap().body {
        Response::Record(Some(record)) => record.value().unwrap().clone(),
        other => panic!("not an echo: {other:?}"),
    }
}

/// Calls until the peer answers, as a node does that exchanges membership every now and then.
pub(crate) async fn until_answered(transport: &TcpTransport, to: &Destination) -> Message<Response> {
    let give_up = far();
    loop {
        match transport.call(to, read("are you there"), give_up).await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < give_up, "still {error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Lets the other tasks go on until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = WallInstant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not in 20 s: {what}");
        tokio::task::yield_now().await;
    }
}

/// A counterpart that speaks the protocol by hand, byte by byte if need be.
pub(crate) struct ByHand {
    pub(crate) stream: TcpStream,
    received: BytesMut,
}

impl ByHand {
    pub(crate) async fn connect(listener: &PeerListener) -> Self {
        Self::over(TcpStream::connect(listener.local_address()).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// Connects and passes the handshake.
    pub(crate) async fn greeted(listener: &PeerListener) -> Self {
        let mut by_hand = Self::connect(listener).await;
        by_hand.send(b"helenus\n").await;
        by_hand
            .send(&encoded(FrameKind::Greeting, 0, &postcard::to_stdvec(&greeting(CALLER)).unwrap()))
            .await;
        let answer = by_hand.next_frame().await.unwrap();
        assert_eq!(answer.kind, FrameKind::GreetingAnswer);
        by_hand
    }

    /// Answers the greeting of whoever has connected: variant 0 of the answer is `Accepted`.
    pub(crate) async fn welcome(&mut self) {
        let mut magic = [0; 8];
        self.stream.read_exact(&mut magic).await.unwrap();
        assert!(magic.eq_ignore_ascii_case(b"helenus\n"), "{magic:?}");
        assert_eq!(self.next_frame().await.unwrap().kind, FrameKind::Greeting);
        let answer = postcard::to_stdvec(&(0_u8, greeting(ANSWERER))).unwrap();
        self.send(&encoded(FrameKind::GreetingAnswer, 0, &answer)).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, or nothing once the other side has closed the connection.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame> {
        let mut codec = FrameCodec::new(1 << 20);
        loop {
            if let Some(frame) = codec.decode(&mut self.received).unwrap() {
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.received);
            let read =
                tokio::time::timeout(Duration::from_secs(20), read).await.expect("neither byte nor end");
            if matches!(read, Ok(0) | Err(_)) {
                return None;
            }
        }
    }
}

pub(crate) fn encoded(kind: FrameKind, correlation: u64, head: &[u8]) -> Bytes {
    let frame = Frame { kind, correlation, head: Bytes::copy_from_slice(head), payload: Bytes::new() };
    let mut bytes = BytesMut::new();
    FrameCodec::new(1 << 20).encode(&frame, &mut bytes).unwrap();
    bytes.freeze()
}
