//! Only nodes of the same cluster get to talk, and a stranger is rid of cheaply.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use helenus_cluster::{
    membership::handshake::{Greeting, PROTOCOL_VERSION, Refusal},
    node::transport::{CallError, Transport},
    node_id::ClusterId,
};
use helenus_server::peer::{
    client::TcpTransport, frame::FrameKind, listener::PeerListener, settings::PeerSettings,
};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::nodes::*;

/// What a caller with one greeting is told by a listener with another.
async fn refusal(caller: Greeting, answerer: Greeting) -> Refusal {
    let listener = listen_with(echo(), answerer, &settings(), "127.0.0.1:0").await;
    let transport = TcpTransport::new(Arc::new(move || caller.clone()), settings(), here());

    let answer = transport.call(&to(&listener), read("k"), far()).await;

    assert_eq!(listener.counts().refused, 1);
    assert_eq!(listener.counts().requests, 0);
    match answer {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn another_cluster_name_is_refused() {
    let stranger = Greeting { cluster_name: "sparta".to_owned(), ..greeting(CALLER) };
    let (ours, theirs) = ("troy".to_owned(), "sparta".to_owned());
    assert_eq!(refusal(stranger, greeting(ANSWERER)).await, Refusal::ClusterName { ours, theirs });
}

#[tokio::test]
async fn another_partitioner_is_refused() {
    let stranger = Greeting { partitioner: "byte-ordered".to_owned(), ..greeting(CALLER) };
    let (ours, theirs) = ("murmur3".to_owned(), "byte-ordered".to_owned());
    assert_eq!(refusal(stranger, greeting(ANSWERER)).await, Refusal::Partitioner { ours, theirs });
}

#[tokio::test]
async fn a_cluster_of_the_same_name_that_was_formed_apart_is_refused() {
    let (ours, theirs) = (ClusterId(Uuid::from_u128(10)), ClusterId(Uuid::from_u128(11)));
    let stranger = Greeting { cluster_id: Some(theirs), ..greeting(CALLER) };
    let listener = Greeting { cluster_id: Some(ours), ..greeting(ANSWERER) };
    assert_eq!(refusal(stranger, listener).await, Refusal::ClusterId { ours, theirs });
}

#[tokio::test]
async fn another_version_is_told_so_even_if_nothing_else_of_its_greeting_is_understood() {
    let listener = listen(echo()).await;
    let mut by_hand = ByHand::connect(&listener).await;
    let theirs = PROTOCOL_VERSION + 1;

    by_hand.send(b"helenus\n").await;
    by_hand.send(&encoded(FrameKind::Greeting, 0, &postcard::to_stdvec(&(theirs, [9_u8; 3])).unwrap())).await;

    let answer = by_hand.next_frame().await.unwrap();
    let refusal = Refusal::ProtocolVersion { ours: PROTOCOL_VERSION, theirs };
    assert_eq!(answer.head, postcard::to_stdvec(&(1_u8, refusal)).unwrap(), "variant 1 is `Refused`");
    assert_eq!(by_hand.next_frame().await, None);
    until("it is counted", || listener.counts().refused == 1).await;
}

#[tokio::test]
async fn whoever_does_not_greet_in_time_is_closed_and_counted() {
    let handshake_timeout = Duration::from_millis(50);
    let settings = PeerSettings { handshake_timeout, ..settings() };
    let complete = encoded(FrameKind::Greeting, 0, &postcard::to_stdvec(&greeting(CALLER)).unwrap());
    let half_a_greeting = [b"helenus\n", &complete[..complete.len() / 2]].concat();
    let openings: [&[u8]; 3] = [b"", b"hele", &half_a_greeting];

    for opening in openings {
        let listener = listen_with(echo(), greeting(ANSWERER), &settings, "127.0.0.1:0").await;
        let mut by_hand = ByHand::connect(&listener).await;
        by_hand.send(opening).await;

        assert_eq!(by_hand.next_frame().await, None, "after {opening:?}");
        until("it is counted", || listener.counts().strangers == 1).await;
    }
}

#[tokio::test]
async fn whoever_does_not_speak_the_protocol_is_closed_at_once() {
    let settings = PeerSettings { handshake_timeout: Duration::from_secs(3600), ..settings() };
    let mut damaged =
        encoded(FrameKind::Greeting, 0, &postcard::to_stdvec(&greeting(CALLER)).unwrap()).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let openings: [Vec<u8>; 5] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [&b"helenus\n"[..], &[0; 64]].concat(),
        [&b"helenus\n"[..], &damaged].concat(),
        [&b"helenus\n"[..], &encoded(FrameKind::Request, 1, b"")].concat(),
        [&b"helenus\n"[..], &encoded(FrameKind::Greeting, 0, &[1; 5000])].concat(),
    ];

    for opening in openings {
        let listener = listen_with(echo(), greeting(ANSWERER), &settings, "127.0.0.1:0").await;
        let mut by_hand = ByHand::connect(&listener).await;
        by_hand.send(&opening).await;

        assert_eq!(by_hand.next_frame().await, None, "after {opening:?}");
        until("it is counted", || listener.counts().strangers == 1).await;
    }
}

#[tokio::test]
async fn a_node_greets_with_what_it_knows_at_the_moment() {
    let joined = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let knows = Arc::clone(&joined);
    let stranger = move || Greeting {
        cluster_id: knows.load(std::sync::atomic::Ordering::SeqCst).then(|| ClusterId(Uuid::from_u128(11))),
        ..greeting(CALLER)
    };
    let ours = Greeting { cluster_id: Some(ClusterId(Uuid::from_u128(10))), ..greeting(ANSWERER) };
    let listener = listen_with(echo(), ours, &settings(), "127.0.0.1:0").await;
    let transport = TcpTransport::new(Arc::new(stranger), settings(), here());

    let before = transport.call(&to(&listener), read("k"), far()).await;
    joined.store(true, std::sync::atomic::Ordering::SeqCst);
    let after = transport.call(&to(&listener), control("k"), far()).await;

    assert!(before.is_ok(), "{before:?}");
    assert!(matches!(after, Err(CallError::Refused(_))), "{after:?}");
}

#[tokio::test]
async fn a_connection_made_before_a_node_joined_another_cluster_carries_no_requests_any_more() {
    let cluster = |number| Some(ClusterId(Uuid::from_u128(number)));
    let joined = Arc::new(Mutex::new(None));
    let of_listener = Arc::clone(&joined);
    let listener = PeerListener::start(
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        Arc::new(move || Greeting { cluster_id: *of_listener.lock().unwrap(), ..greeting(ANSWERER) }),
        echo(),
        Arc::new(|_| {}),
        &settings(),
        &here(),
    )
    .unwrap();
    let of_cluster = |number| {
        let greeting = move || Greeting { cluster_id: cluster(number), ..greeting(CALLER) };
        TcpTransport::new(Arc::new(greeting), settings(), here())
    };
    let (same, other) = (of_cluster(1), of_cluster(2));
    for transport in [&same, &other] {
        echoed(transport.call(&to(&listener), read("of a joining node"), far()).await);
    }

    *joined.lock().unwrap() = cluster(1);

    for _ in 0..2 {
        echoed(same.call(&to(&listener), read("of its cluster"), far()).await);
    }
    assert_eq!(listener.counts().accepted, 2, "over the connection that was there");
    let cut = other.call(&to(&listener), read("of the other"), far()).await;
    assert!(matches!(cut, Err(CallError::Lost { .. })), "{cut:?}");
    let refused = other.call(&to(&listener), read("of the other"), far()).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
}
