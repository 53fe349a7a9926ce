//! Promise: a new node that died before it was listed holds up no other, and who waits for its turn says so.

mod processes;

use std::{sync::Arc, time::Duration};

use helenus_cluster::{
    membership::{
        Exchange,
        handshake::{Greeting, PROTOCOL_VERSION},
    },
    message::{Header, Message, Request, Response, TrafficClass},
    node::{
        Spawners,
        transport::{Destination, Transport},
    },
    node_id::{Generation, HostId},
    time::Timestamp,
};
use helenus_server::peer::{client::TcpTransport, settings::PeerSettings};
use processes::{TestCluster, wait_until};
use tokio::{runtime::Handle, time::Instant};
use uuid::Uuid;

const NEWCOMER: HostId = HostId(Uuid::from_u128(777));

/// A node that has asked for the members to choose its tokens, and gone no further.
async fn takes_its_turn(cluster: &TestCluster) -> TcpTransport {
    let status = cluster.request("GET", 1, "/admin/v1/status", None).json();
    let greeting = Greeting {
        protocol_version: PROTOCOL_VERSION,
        cluster_name: status["cluster_name"].as_str().expect("a text").to_owned(),
        cluster_id: None,
        partitioner: "murmur3".to_owned(),
        host_id: NEWCOMER,
        generation: Generation(1),
    };
    let here = Spawners { requests: Handle::current(), membership: Handle::current() };
    let transport = TcpTransport::new(Arc::new(move || greeting.clone()), PeerSettings::default(), here);
    let header = Header {
        sender: NEWCOMER,
        generation: Generation(1),
        target: None,
        ring_version: 0,
        schema_version: 0,
        class: TrafficClass::Control,
        remaining: Duration::from_secs(5),
        timestamp: Timestamp(1),
        client_request: None,
        steps: Vec::new(),
    };
    let question = Message { header, body: Request::Exchange(Exchange::nothing()) };
    let to = Destination { host_id: None, address: cluster.peer_address(1) };
    let answer = transport.call(&to, question, Instant::now() + Duration::from_secs(20)).await;
    assert!(matches!(answer.expect("an answer").body, Response::Exchange(_)), "it is its turn");
    transport
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_waits_for_another_one_s_turn_and_no_longer_than_that_lives() {
    let cluster = TestCluster::stopped(2);
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    let newcomer = takes_its_turn(&cluster).await;

    cluster.spawn(2);
    wait_until("it says for whom it waits", || {
        let reply = cluster.try_request("GET", 2, "/readyz", &[], None);
        reply.is_ok_and(|reply| {
            let why = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
            why.contains("waits for its turn to choose tokens") && why.contains(&NEWCOMER.to_string())
        })
    });

    newcomer.stop().await;
    cluster.wait_until_ready(2);
    assert!(cluster.log(2).contains("chose its tokens"));
}
