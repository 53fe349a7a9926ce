//! A peer that is slow, stuck or greedy costs a bounded amount of memory, and only its own traffic waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use helenus_cluster::node::transport::{CallError, Destination, Transport};
use helenus_server::peer::settings::PeerSettings;
use tokio::{net::TcpListener, sync::Semaphore};

use super::nodes::*;

/// A peer that has shaken hands and then was paused: its kernel takes bytes until its buffers are full.
async fn paused_peer(transport: &helenus_server::peer::client::TcpTransport) -> (Destination, ByHand) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let destination = at(socket.local_addr().unwrap());
    let first = transport.call(&destination, read("k"), in_ms(20));
    let welcoming = async {
        let mut by_hand = ByHand::over(socket.accept().await.unwrap().0);
        by_hand.welcome().await;
        by_hand
    };
    let (answer, by_hand) = tokio::join!(first, welcoming);
    assert_eq!(answer, Err(CallError::TimedOut));
    (destination, by_hand)
}

#[tokio::test]
async fn twenty_thousand_calls_to_a_paused_peer_are_overload_but_for_a_few() {
    let bounds = PeerSettings { queue_requests: 100, in_flight_requests: 200, ..settings() };
    let transport = transport_with(bounds);
    let (destination, _paused) = paused_peer(&transport).await;

    let mut calls = Vec::new();
    for n in 0..20_000 {
        calls.push(transport.call(&destination, write(format!("key {n}"), vec![0; 1024]), in_ms(300)));
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let answers = join_all(calls).await;

    let admitted = answers.iter().filter(|answer| **answer != Err(CallError::Overloaded)).count();
    assert!((200..=300).contains(&admitted), "{admitted} admitted");
    let timed_out = answers.iter().filter(|answer| **answer == Err(CallError::TimedOut)).count();
    assert_eq!(timed_out, admitted);
}

/// How many of twenty requests with a value of 64 KiB may wait for a peer that does not greet back.
async fn admitted_to_the_queue(settings: PeerSettings) -> usize {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (destination, transport) = (at(socket.local_addr().unwrap()), transport_with(settings));
    let calls: Vec<_> =
        (0..20).map(|_| transport.call(&destination, write("k", vec![0; 64 << 10]), in_ms(20))).collect();
    let answers = join_all(calls).await;
    let admitted = answers.iter().take_while(|answer| **answer == Err(CallError::TimedOut)).count();
    assert!(answers[admitted..].iter().all(|answer| *answer == Err(CallError::Overloaded)), "{answers:?}");
    admitted
}

#[tokio::test]
async fn requests_that_wait_are_bounded_by_their_number_and_by_their_bytes() {
    assert_eq!(admitted_to_the_queue(settings()).await, 20);
    assert_eq!(admitted_to_the_queue(PeerSettings { queue_requests: 10, ..settings() }).await, 10);
    assert_eq!(admitted_to_the_queue(PeerSettings { queue_bytes: 256 << 10, ..settings() }).await, 3);
}

#[tokio::test]
async fn control_is_answered_while_requests_are_jammed() {
    let listener = listen_with(
        answerer(|request| {
            Box::pin(async move {
                if request.header.class == helenus_cluster::message::TrafficClass::Request {
                    std::future::pending::<()>().await;
                }
                answer_to(request)
            })
        }),
        greeting(ANSWERER),
        &PeerSettings { concurrent_requests: 2, ..settings() },
        "127.0.0.1:0",
    )
    .await;
    let transport = transport();
    let destination = to(&listener);
    let jammed: Vec<_> =
        (0..1000).map(|_| transport.call(&destination, write("k", vec![0; 4096]), in_ms(300))).collect();
    until("the listener is full", || listener.counts().requests >= 2).await;

    assert_eq!(echoed(transport.call(&destination, control("k"), far()).await), "k");

    for answer in join_all(jammed).await {
        assert_eq!(answer, Err(CallError::TimedOut));
    }
}

#[tokio::test]
async fn a_connection_is_not_read_any_further_while_its_places_are_taken() {
    let (gate, running, most) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (held, now, peak) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
    let listener = listen_with(
        answerer(move |request| {
            let (held, now, peak) = (Arc::clone(&held), Arc::clone(&now), Arc::clone(&peak));
            Box::pin(async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = held.acquire().await.unwrap();
                now.fetch_sub(1, Ordering::SeqCst);
                answer_to(request)
            })
        }),
        greeting(ANSWERER),
        &PeerSettings { concurrent_requests: 4, ..settings() },
        "127.0.0.1:0",
    )
    .await;
    let transport = transport();
    let destination = to(&listener);

    let calls: Vec<_> =
        (0..50).map(|n| transport.call(&destination, read(format!("key {n}")), far())).collect();
    until("all places are taken", || running.load(Ordering::SeqCst) == 4).await;
    gate.add_permits(1);

    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(echoed(answer), format!("key {n}"));
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_at_once() {
    let cap = PeerSettings { max_inbound: 1, ..settings() };
    let listener = listen_with(echo(), greeting(ANSWERER), &cap, "127.0.0.1:0").await;
    let (first, second) = (transport(), transport());
    echoed(first.call(&to(&listener), read("k"), far()).await);

    let refused = second.call(&to(&listener), read("k"), far()).await;

    assert!(matches!(refused, Err(CallError::Unreachable { .. })), "{refused:?}");
    assert_eq!(listener.counts().over_limit, 1);
    first.stop().await;
    until_answered(&second, &to(&listener)).await;
}

#[tokio::test]
async fn a_transport_keeps_no_more_connections_than_it_may() {
    let (one, other) = (listen(echo()).await, listen(echo()).await);
    let idle_timeout = Duration::from_millis(30);
    let transport = transport_with(PeerSettings { max_outbound: 1, idle_timeout, ..settings() });
    echoed(transport.call(&to(&one), read("k"), far()).await);

    let refused = transport.call(&to(&other), read("k"), far()).await;
    until("the first is closed", || transport.connections() == 0).await;
    let taken = transport.call(&to(&other), read("k"), far()).await;

    assert_eq!(refused, Err(CallError::Overloaded));
    assert_eq!(echoed(taken), "k");
}
