//! A listener cannot be held up: silent, slow, greedy and stuck clients are let go in time, and a stop always ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use helenus_server::listen::{Listener, Refusal, Refuse, Server, Settings};
use hyper::{Response, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use support::{Client, ask, eventually, within_patience};
use tokio::sync::Semaphore;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(30);

/// Nothing times out unless a test says so.
fn patient() -> Settings {
    Settings {
        header_timeout: LONG,
        idle_timeout: LONG,
        write_stall_timeout: LONG,
        linger_timeout: Duration::from_secs(5),
        ..Settings::default()
    }
}

/// A listener whose requests to `/wait` are `entered` and go on when `leave` has a permit.
struct Door {
    server: Option<Server>,
    open: Gauge,
    entered: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

impl Door {
    async fn open(settings: Settings) -> Self {
        let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let wait = {
            let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
            move || async move {
                entered.add_permits(1);
                leave.acquire().await.unwrap().forget();
                "waited"
            }
        };
        let service = Router::new()
            .route("/", any(|| async { "here" }))
            .route("/wait", any(wait))
            .route("/large", any(|| async { Body::from(vec![b'x'; 32 << 20]) }))
            .route("/refuses", any(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") }));
        let refuse: Refuse = Arc::new(|refusal| {
            let status = match refusal {
                Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::Malformed(status) => status,
                Refusal::Fragment => StatusCode::BAD_REQUEST,
                Refusal::SlowHead => StatusCode::REQUEST_TIMEOUT,
            };
            let mut reply = Response::new(Bytes::from(format!("{refusal:?}")));
            *reply.status_mut() = status;
            reply
        });
        let open = Gauge::default();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), settings).unwrap();
        let server = Some(listener.serve(service, refuse, open.clone()));
        Self { server, open, entered, leave }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.server.as_ref().unwrap().local_address()).await
    }

    async fn stop(&mut self, grace: Duration) -> usize {
        within_patience("stopping", self.server.take().unwrap().stop(grace)).await
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn a_connection_on_which_not_one_byte_arrives_is_closed() {
    let door = Door::open(Settings { header_timeout: SHORT, ..patient() }).await;
    assert_eq!(door.connect().await.closed().await, "");
}

#[tokio::test]
async fn a_half_sent_head_is_answered_408_and_closed() {
    let door = Door::open(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut client = door.connect().await;
    let reply = client.send("GET / HTTP/1.1\r\nHost:").await.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (408, "close"));
    client.finish().await;
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn a_half_sent_second_head_has_no_more_time_than_the_first() {
    let door = Door::open(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut client = door.connect().await;
    assert_eq!(client.send(GET).await.reply().await.status, 200);
    assert_eq!(client.send("GET").await.reply().await.status, 408);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let door = Door::open(Settings { idle_timeout: SHORT, ..patient() }).await;
    let mut client = door.connect().await;
    assert_eq!(client.send(GET).await.reply().await.status, 200);
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_let_go() {
    let door = Door::open(Settings { write_stall_timeout: SHORT, ..patient() }).await;
    let mut client = door.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the connection opens", || door.open.get() == 1).await;
    eventually("the connection is dropped", || door.open.get() == 0).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let door = Door::open(patient()).await;
    let mut client = door.connect().await;
    client.send([GET, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n", GET].concat()).await;
    for status in [200, 404, 200] {
        assert_eq!(client.reply().await.status, status);
    }
}

#[tokio::test]
async fn a_target_with_a_raw_hash_is_refused_and_ends_its_connection() {
    let door = Door::open(patient()).await;
    let mut client = door.connect().await;
    let body = "GET /#a HTTP/1.1\r\n\r\n";
    let length = body.len();
    client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")).await;
    assert_eq!(client.reply().await.status, 200, "a body may hold anything");
    client.send([GET, "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", GET].concat()).await;
    assert_eq!(client.reply().await.status, 200);
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (400, "close"));
    assert_eq!(reply.body, b"Fragment");
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn a_burst_of_connections_waits_for_the_accept_loop() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), patient()).unwrap();
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let burst = 400.min(allowed.trim().parse().unwrap());
    let mut clients = Vec::new();
    for _ in 0..burst {
        clients.push(Client::connect(listener.local_address()).await);
    }
}

#[tokio::test]
async fn a_refused_body_does_not_cost_the_client_its_reply() {
    let door = Door::open(patient()).await;
    let mut client = door.connect().await;
    let length = 4 << 20;
    client.send(format!("PUT /refuses HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")).await;
    client.send(vec![b'x'; length]).await;
    assert_eq!(client.reply().await.status, 413);
}

#[tokio::test]
async fn what_is_no_request_is_answered_in_our_words() {
    let door = Door::open(Settings { max_head_bytes: 16 << 10, ..patient() }).await;
    for (head, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHo st: h\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(20 << 10)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)), 431),
    ] {
        let reply = ask(door.server.as_ref().unwrap().local_address(), &head).await;
        assert_eq!((reply.status, reply.header("connection")), (status, "close"), "{head:.40}");
        assert!(reply.body.starts_with(b"Malformed"), "{head:.40}");
        assert!(reply.header("date").ends_with(" GMT"), "{reply:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_so_and_later_ones_served() {
    let door = Door::open(Settings { max_connections: 1, ..patient() }).await;
    let mut first = door.connect().await;
    assert_eq!(first.send(GET).await.reply().await.status, 200);
    let mut second = door.connect().await;
    let reply = second.send(GET).await.reply().await;
    assert_eq!(
        (reply.status, reply.header("connection"), reply.body.as_slice()),
        (503, "close", &b"Full"[..])
    );
    assert!(reply.header("date").ends_with(" GMT"), "{reply:?}");
    assert_eq!(door.open.get(), 1);
    drop(first);
    eventually("the first one's place is free", || door.open.get() == 0).await;
    within_patience("a place", async {
        while door.connect().await.send(GET).await.reply().await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_half_sent_heads_at_once() {
    let mut door = Door::open(Settings { linger_timeout: LONG, ..patient() }).await;
    let (mut idle, mut half, mut silent) = (door.connect().await, door.connect().await, door.connect().await);
    assert_eq!(idle.send(GET).await.reply().await.status, 200);
    // The half head comes with a whole one, whose reply proves that it is here.
    assert_eq!(half.send([GET, "GET / HTTP/1.1\r\nHos"].concat()).await.reply().await.status, 200);
    eventually("all are open", || door.open.get() == 3).await;
    assert_eq!(door.stop(LONG).await, 0);
    for client in [&mut idle, &mut half, &mut silent] {
        assert_eq!(client.closed().await, "");
    }
}

#[tokio::test]
async fn a_stop_lets_a_request_under_way_finish() {
    let mut door = Door::open(patient()).await;
    let mut client = door.connect().await;
    client.send(WAIT).await;
    within_patience("the request enters", door.entered.acquire()).await.unwrap().forget();
    let leave = Arc::clone(&door.leave);
    let (cut, reply) = tokio::join!(door.stop(LONG), async {
        leave.add_permits(1);
        let reply = client.reply().await;
        drop(client);
        reply
    });
    assert_eq!((cut, reply.status, reply.body.as_slice()), (0, 200, &b"waited"[..]));
}

#[tokio::test]
async fn a_stop_cuts_a_stuck_request_at_its_deadline() {
    let mut door = Door::open(patient()).await;
    let mut client = door.connect().await;
    client.send(WAIT).await;
    within_patience("the request enters", door.entered.acquire()).await.unwrap().forget();
    assert_eq!(door.stop(SHORT).await, 1);
    assert_eq!(client.closed().await, "");
    assert_eq!(door.open.get(), 0);
}

#[tokio::test]
async fn a_stopped_listener_accepts_no_more() {
    let mut door = Door::open(patient()).await;
    let address = door.server.as_ref().unwrap().local_address();
    assert_ne!(address.port(), 0);
    assert_eq!(door.stop(LONG).await, 0);
    within_patience("refusal", async { while tokio::net::TcpStream::connect(address).await.is_ok() {} })
        .await;
}
