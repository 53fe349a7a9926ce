//! Promise: forged or damaged gossip changes no ring and stops no node; the metrics count it, and the log names its
//! sender once a minute.

mod processes;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use helenus_cluster::{
    membership::{
        Gossip, GossipRequest, Member, MemberState,
        digest::{Delta, Digest},
        handshake::{Greeting, PROTOCOL_VERSION},
    },
    message::{Header, Message, ReplicaError, Request, Response, TrafficClass},
    node::{
        Spawners,
        transport::{Destination, Transport},
    },
    node_id::{ClusterId, Generation, HostId},
    time::{SystemClock, WallClock},
    wire::{self, Encoded},
};
use helenus_server::peer::{
    client::TcpTransport,
    frame::{Frame, FrameCodec, FrameKind},
    settings::PeerSettings,
};
use processes::TestCluster;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    time::Instant,
};
use tokio_util::codec::Encoder;
use uuid::Uuid;

const LIAR: HostId = HostId(Uuid::from_u128(666));

/// Somebody who knows the name and the id of the cluster, and lies.
struct Liar {
    greeting: Greeting,
    victim: Destination,
    transport: TcpTransport,
}

impl Liar {
    fn before(cluster: &TestCluster, number: usize) -> Self {
        let status = cluster.request("GET", number, "/admin/v1/status", None).json();
        let uuid = |field: &str| status[field].as_str().expect("a text").parse().expect("a UUID");
        let greeting = Greeting {
            protocol_version: PROTOCOL_VERSION,
            cluster_name: status["cluster_name"].as_str().expect("a text").to_owned(),
            cluster_id: Some(ClusterId(uuid("cluster_id"))),
            partitioner: "murmur3".to_owned(),
            host_id: LIAR,
            generation: Generation(1),
        };
        let here = Spawners { requests: Handle::current(), membership: Handle::current() };
        let greeted = greeting.clone();
        let transport = TcpTransport::new(Arc::new(move || greeted.clone()), PeerSettings::default(), here);
        let victim =
            Destination { host_id: Some(HostId(uuid("host_id"))), address: cluster.peer_address(number) };
        Self { greeting, victim, transport }
    }

    fn message(&self, cluster_id: Option<ClusterId>, deltas: Vec<Delta>) -> Message<Request> {
        let cluster_id = cluster_id.or(self.greeting.cluster_id).expect("it has one");
        let header = Header {
            sender: LIAR,
            generation: Generation(1),
            target: self.victim.host_id,
            ring_version: 0,
            schema_version: 0,
            class: TrafficClass::Control,
            remaining: Duration::from_secs(5),
            timestamp: SystemClock.now(),
            client_request: None,
            steps: Vec::new(),
        };
        Message { header, body: Request::Gossip(GossipRequest { cluster_id, gossip: Gossip::Ack2(deltas) }) }
    }

    async fn tell(&self, message: Message<Request>) -> Response {
        let deadline = Instant::now() + Duration::from_secs(20);
        self.transport.call(&self.victim, message, deadline).await.expect("an answer").body
    }

    /// Greets, sends a request with this payload, and waits until the node hangs up.
    async fn send_cut(&self, whole: &Encoded, payload: Bytes) {
        self.send_after_greeting(&frame(FrameKind::Request, whole.head.clone(), payload)).await;
    }

    async fn send_after_greeting(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(&self.victim.address).await.expect("it listens");
        let head = postcard::to_stdvec(&self.greeting).expect("it encodes").into();
        let greeting = frame(FrameKind::Greeting, head, Bytes::new());
        let bytes = [b"helenus\n", &greeting[..], bytes].concat();
        // It may have heard enough before the end.
        let _ = stream.write_all(&bytes).await;
        until_hung_up(&mut stream).await;
    }
}

fn frame(kind: FrameKind, head: Bytes, payload: Bytes) -> BytesMut {
    let mut bytes = BytesMut::new();
    let frame = Frame { kind, correlation: 1, head, payload };
    FrameCodec::new(1 << 30).encode(&frame, &mut bytes).expect("it fits");
    bytes
}

/// A sound frame of a kind that this build does not know.
fn frame_of_kind(kind: u8) -> BytesMut {
    let mut bytes = frame(FrameKind::Request, Bytes::new(), Bytes::new());
    bytes[16] = kind;
    let crc = crc32fast::hash(&bytes[..21]);
    bytes[21..25].copy_from_slice(&crc.to_le_bytes());
    bytes
}

async fn until_hung_up(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    // A reset is an end too.
    let _ = end.expect("the node hangs up");
}

fn member(number: u128, tokens: Vec<i64>) -> Member {
    Member {
        host_id: HostId(Uuid::from_u128(number)),
        generation: Generation(1_767_225_600),
        version: 1,
        address: "10.0.0.9:7171".to_owned(),
        datacenter: "dc1".to_owned(),
        rack: "rack1".to_owned(),
        state: MemberState::Normal,
        tokens,
    }
}

fn delta(member: Member) -> Delta {
    let digest = Digest {
        host_id: member.host_id,
        removed: member.state == MemberState::Removed,
        generation: member.generation,
        heartbeat: 1,
        described: member.version,
        told: 0,
    };
    Delta { digest, description: Some(Arc::new(member)), after: 0, facts: Vec::new() }
}

/// Bytes of a fixed generator.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The ring as a node sees it: members, where they are, and all tokens.
fn ring(cluster: &TestCluster, number: usize) -> (Vec<Value>, Value) {
    let ring = cluster.request("GET", number, "/admin/v1/ring", None).json();
    let members = ring["members"].as_array().expect("a list").iter();
    let known =
        members.map(|member| serde_json::json!([member["host_id"], member["address"], member["state"]]));
    (known.collect(), ring["tokens"].clone())
}

fn counted(cluster: &TestCluster, number: usize, metric: &str) -> u64 {
    let page = cluster.request("GET", number, "/metrics", None).body;
    let page = String::from_utf8(page).expect("text");
    let line = page.lines().find_map(|line| line.strip_prefix(metric)).expect("it is counted");
    line.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_and_damage_are_counted_and_named_once_and_change_nothing() {
    let cluster = TestCluster::start(3);
    let before: Vec<_> = (1..=3).map(|number| ring(&cluster, number)).collect();
    let host = |number: usize| {
        let info = cluster.request("GET", number, "/admin/v1/info", None).json();
        let tokens = info["tokens"].as_array().expect("a list").iter();
        let tokens: Vec<i64> = tokens.map(|token| token.as_str().unwrap().parse().unwrap()).collect();
        (HostId(info["host_id"].as_str().expect("a text").parse().expect("a UUID")), tokens)
    };
    let (n2, tokens_of_n2) = host(2);
    let liar = Liar::before(&cluster, 1);
    let absurd = Generation(u64::MAX);
    let lies = [
        member(77, tokens_of_n2),
        Member { generation: absurd, ..member(77, vec![5]) },
        Member { host_id: n2, generation: absurd, ..member(0, vec![5]) },
        Member { host_id: n2, state: MemberState::Removed, generation: absurd, ..member(0, vec![5]) },
        member(77, (0..5000).collect()),
        Member { address: "x".repeat(1000), ..member(77, vec![5]) },
        Member { rack: "a\u{1b}[2Jb".to_owned(), ..member(77, vec![5]) },
    ];

    for lie in &lies {
        for _ in 0..3 {
            let answer = liar.tell(liar.message(None, vec![delta(lie.clone())])).await;
            assert!(matches!(answer, Response::Gossip(_)), "{answer:?}");
        }
    }
    assert_eq!(counted(&cluster, 1, "helenus_gossip_rejected_facts_total"), 3 * lies.len() as u64);
    for other in 1..=3 {
        let foreign = liar.message(Some(ClusterId(Uuid::from_u128(other))), vec![delta(member(77, vec![5]))]);
        assert_eq!(liar.tell(foreign).await, Response::Failed(ReplicaError::OtherCluster));
    }
    assert_eq!(counted(&cluster, 1, "helenus_gossip_foreign_total"), 3);

    let whole = wire::encode_request(&liar.message(None, vec![delta(member(77, vec![5]))]));
    for length in [0, 1, 17, whole.payload.len() - 1] {
        liar.send_cut(&whole, whole.payload.slice(..length)).await;
    }
    liar.send_cut(&whole, vec![0; 40 << 20].into()).await;
    assert_eq!(counted(&cluster, 1, "helenus_peer_connections_total{result=\"cut\"}"), 5);
    for kind in 5..=44 {
        liar.send_after_greeting(&frame_of_kind(kind)).await;
    }
    assert_eq!(counted(&cluster, 1, "helenus_peer_connections_total{result=\"cut\"}"), 45);
    for length in [1, 8, 64, 100_000] {
        let noise = noise(length);
        let mut stream = TcpStream::connect(&liar.victim.address).await.expect("it listens");
        // So short a noise ends, or the node would wait for more until its patience does.
        let _ = stream.write_all(&noise).await;
        let _ = stream.shutdown().await;
        until_hung_up(&mut stream).await;
    }
    assert_eq!(counted(&cluster, 1, "helenus_peer_connections_total{result=\"stranger\"}"), 4);

    for number in 1..=3 {
        assert_eq!(ring(&cluster, number), before[number - 1], "node {number}");
        cluster.wait_until_seen_up(number, 3);
    }
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=all", Some(b"v")).status, 200);
    let log = cluster.log(1);
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("a host said what cannot be"), 1, "{log}");
    assert_eq!(lines("gossip of another cluster was refused"), 1, "{log}");
    assert_eq!(lines("connection of a peer cut"), 1, "{log}");
    assert_eq!(lines("connection of a peer not taken"), 1, "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
