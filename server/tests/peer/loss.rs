//! A peer that goes away ends its calls at once, costs nothing while it is away, and is found when it is back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use helenus_cluster::{
    message::{Receipt, Response},
    node::transport::{CallError, Transport},
    node_id::HostId,
};
use helenus_server::peer::{listener::EndListener, settings::PeerSettings};
use tokio::{net::TcpListener, time::Instant};

use super::nodes::*;

#[tokio::test]
async fn a_killed_peer_ends_all_its_calls_and_is_found_again_on_its_port() {
    let listener = listen(mute()).await;
    let (destination, port) = (to(&listener), listener.local_address().to_string());
    let transport = transport();
    let calls: Vec<_> = (0..100).map(|_| transport.call(&destination, read("k"), far())).collect();
    until("all are asked", || listener.counts().requests == 100).await;

    listener.stop(Instant::now()).await;

    for answer in join_all(calls).await {
        assert!(matches!(answer, Err(CallError::Lost { .. })), "{answer:?}");
    }
    let begin = Instant::now();
    for _ in 0..10 {
        let answer = transport.call(&destination, read("k"), far()).await;
        assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "unreachable, but only after {:?}", begin.elapsed());

    let _restarted = listen_with(echo(), greeting(ANSWERER), &settings(), &port).await;
    until_answered(&transport, &destination).await;
}

#[tokio::test]
async fn the_loss_of_an_idle_connection_is_told_at_once_and_once() {
    let listener = listen(echo()).await;
    let destination = to(&listener);
    let transport = transport();
    transport.call(&destination, read("k"), far()).await.expect("it answers");
    // A wait that was given up before forgets nothing.
    assert!(futures_util::poll!(transport.lost_connections()).is_pending());

    listener.stop(Instant::now()).await;

    let told = tokio::time::timeout(Duration::from_secs(10), transport.lost_connections()).await;
    assert_eq!(told.expect("within the time"), [ANSWERER].into());
    let _ = transport.call(&destination, read("k"), far()).await.expect_err("nobody listens");
    assert!(futures_util::poll!(transport.lost_connections()).is_pending(), "no connection stood");
}

#[tokio::test]
async fn a_call_during_the_pause_after_a_failure_fails_at_once_without_an_attempt() {
    let pause = Duration::from_secs(3600);
    let transport = transport_with(PeerSettings { backoff_min: pause, backoff_max: pause, ..settings() });
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (destination, port) = (at(socket.local_addr().unwrap()), socket.local_addr().unwrap().to_string());
    drop(socket);
    let first = transport.call(&destination, read("k"), far()).await;

    let listener = listen_with(echo(), greeting(ANSWERER), &settings(), &port).await;
    let second = transport.call(&destination, read("k"), far()).await;
    let other_class = transport.call(&destination, control("k"), far()).await;

    assert!(matches!(first, Err(CallError::Unreachable { .. })), "{first:?}");
    assert_eq!(second, first);
    assert_eq!(other_class, first);
    assert_eq!(listener.counts().accepted, 0);
}

#[tokio::test]
async fn a_peer_that_takes_the_connection_and_says_nothing_is_unreachable_after_the_handshake_timeout() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeout = Duration::from_millis(50);
    let transport = transport_with(PeerSettings { handshake_timeout: timeout, ..settings() });

    let answer = transport.call(&at(socket.local_addr().unwrap()), read("k"), far()).await;

    assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_listener_that_stops_answers_what_it_has_taken() {
    let release = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&release);
    let listener = listen(answerer(move |request| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.notified().await;
            answer_to(request)
        })
    }))
    .await;
    let transport = transport();
    let call = transport.call(&to(&listener), write("k", "v"), far());
    until("it is asked", || listener.counts().requests == 1).await;

    let stopping = listener.stop(far());
    let releasing = async { release.notify_one() };
    let (answer, nothing_left, ()) = tokio::join!(call, stopping, releasing);

    assert_eq!(answer.unwrap().body, Response::Written { results: vec![Ok(Receipt::PLAIN)] });
    assert!(nothing_left);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_answer_beyond_its_deadline() {
    let listener = listen(mute()).await;
    let transport = transport();
    let call = transport.call(&to(&listener), read("k"), far());
    until("it is asked", || listener.counts().requests == 1).await;

    let nothing_left = listener.stop(in_ms(20)).await;

    assert!(!nothing_left);
    assert!(matches!(call.await, Err(CallError::Lost { .. })));
}

#[tokio::test]
async fn a_stopped_transport_ends_its_calls_and_takes_none() {
    let listener = listen(mute()).await;
    let transport = transport();
    let call = transport.call(&to(&listener), read("k"), far());
    until("it is asked", || listener.counts().requests == 1).await;

    transport.stop().await;

    assert!(matches!(call.await, Err(CallError::Lost { .. })));
    for message in [read("k"), control("k")] {
        let later = transport.call(&to(&listener), message, far()).await;
        assert!(matches!(later, Err(CallError::Unreachable { .. })), "{later:?}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_and_made_anew_when_needed() {
    let listener = listen(echo()).await;
    let idle_timeout = Duration::from_millis(30);
    let transport = transport_with(PeerSettings { idle_timeout, ..settings() });
    echoed(transport.call(&to(&listener), read("k"), far()).await);

    until("it is closed", || transport.connections() == 0).await;

    assert_eq!(echoed(transport.call(&to(&listener), read("k"), far()).await), "k");
    assert_eq!(listener.counts().accepted, 2);
}

#[tokio::test]
async fn the_listener_tells_whose_connection_has_ended() {
    let ended: Arc<Mutex<Vec<HostId>>> = Arc::default();
    let told = Arc::clone(&ended);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tell: EndListener = Arc::new(move |host_id| told.lock().unwrap().push(host_id));
    let listener = listen_telling(socket, greeting(ANSWERER), echo(), tell, &settings());
    let by_hand = ByHand::greeted(&listener).await;
    assert_eq!(ended.lock().unwrap().len(), 0);

    drop(by_hand);

    until("it is told", || *ended.lock().unwrap() == [CALLER]).await;
}
