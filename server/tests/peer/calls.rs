//! A call brings the answer to its own request, whatever else is under way on the connection.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use helenus_cluster::{
    membership::Exchange,
    message::{Message, Receipt, ReplicaError, Request, Response},
    node::{
        Spawners,
        transport::{CallError, Destination, Transport},
    },
    node_id::{ClusterId, HostId},
    wire::{Encoded, decode_request, decode_response, encode_request},
};
use helenus_server::peer::{
    PeerListener, UnsentCounts, client::TcpTransport, frame::FrameKind, settings::PeerSettings,
};
use helenus_storage::Record;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
    sync::{Notify, Semaphore},
};
use uuid::Uuid;

use super::nodes::*;

#[tokio::test]
async fn every_kind_of_request_brings_its_kind_of_answer() {
    let listener = listen(echo()).await;
    let transport = transport();
    let exchange = Exchange {
        cluster_id: Some(ClusterId(Uuid::from_u128(9))),
        members: Vec::new(),
        tables: Vec::new(),
        has_user_records: true,
    };

    let met =
        transport.call(&to(&listener), request(Request::Exchange(exchange.clone())), far()).await.unwrap();
    let written = transport.call(&to(&listener), write("k", "v"), far()).await.unwrap();
    let found = transport.call(&to(&listener), read("k"), far()).await.unwrap();

    assert_eq!(met.body, Response::Exchange(exchange));
    assert_eq!(written.body, Response::Written { results: vec![Ok(Receipt::PLAIN)] });
    assert_eq!(found.body, Response::Record(Some(Record::plain(CLOCK, "k"))));
    assert_eq!(found.header.sender, ANSWERER);
    assert_eq!(found.header.client_request.map(|request| request.id), Some(5));
}

#[tokio::test]
async fn control_is_heard_while_the_threads_of_requests_do_nothing_else() {
    let listener = listen(echo()).await;
    // A runtime that nobody drives is as busy as can be.
    let busy = Builder::new_current_thread().enable_all().build().unwrap();
    let spawners = Spawners { requests: busy.handle().clone(), membership: Handle::current() };
    let transport = TcpTransport::new(Arc::new(|| greeting(CALLER)), settings(), spawners);

    let asked = transport.call(&to(&listener), read("k"), in_ms(50)).await;
    assert!(matches!(asked, Err(CallError::TimedOut)), "{asked:?}");
    assert_eq!(echoed(transport.call(&to(&listener), control("c"), far()).await), "c");
    busy.shutdown_background();
}

#[tokio::test]
async fn control_is_answered_while_the_threads_of_requests_do_nothing_else() {
    let busy = Builder::new_current_thread().enable_all().build().unwrap();
    let spawners = Spawners { requests: busy.handle().clone(), membership: Handle::current() };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let greeting = Arc::new(|| greeting(ANSWERER));
    let listener =
        PeerListener::start(socket, greeting, echo(), Arc::new(|_| {}), &settings(), &spawners).unwrap();
    let transport = transport();

    let asked = transport.call(&to(&listener), read("k"), in_ms(50)).await;
    assert!(matches!(asked, Err(CallError::TimedOut)), "{asked:?}");
    assert_eq!(echoed(transport.call(&to(&listener), control("c"), far()).await), "c");
    busy.shutdown_background();
}

#[tokio::test]
async fn an_empty_value_and_one_of_a_mebibyte_arrive_as_they_are() {
    let listener = listen(echo()).await;
    let transport = transport();

    for length in [0, 1, 1 << 10, 1 << 20] {
        let key = Bytes::from(vec![0xa5; length]);
        assert!(
            echoed(transport.call(&to(&listener), read(key.clone()), far()).await) == key,
            "{length} bytes"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_share_one_connection_and_each_gets_its_own_answer() {
    let listener = listen(echo()).await;
    let transport = transport();
    let destination = to(&listener);

    let calls = (0..5000_u32).map(|n| {
        let call = transport.call(&destination, read(format!("key {n}")), far());
        async move { (n, call.await) }
    });
    let mut calls: FuturesUnordered<_> = calls.collect();
    while let Some((n, answer)) = calls.next().await {
        assert_eq!(echoed(answer), format!("key {n}"));
    }

    assert_eq!(transport.connections(), 1);
    assert_eq!(listener.counts().accepted, 1);
    assert_eq!(listener.counts().requests, 5000);
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other() {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let listener = listen(answerer(move |request| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if matches!(&request.body, Request::Read { key, .. } if key == "slow") {
                gate.notified().await;
            }
            answer_to(request)
        })
    }))
    .await;
    let transport = transport();

    let slow = transport.call(&to(&listener), read("slow"), far());
    let fast = transport.call(&to(&listener), read("fast"), far());

    assert_eq!(echoed(fast.await), "fast");
    release.notify_one();
    assert_eq!(echoed(slow.await), "slow");
}

#[tokio::test]
async fn a_call_whose_deadline_has_passed_is_not_sent() {
    let listener = listen(echo()).await;
    let transport = transport();

    let late = transport.call(&to(&listener), read("late"), in_ms(0)).await;
    echoed(transport.call(&to(&listener), read("in time"), far()).await);

    assert_eq!(late, Err(CallError::TimedOut));
    assert_eq!(listener.counts().requests, 1);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_when_its_turn_comes_is_not_sent() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let destination = at(socket.local_addr().unwrap());
    let transport = transport();
    drop(transport.call(&destination, read("given up"), far()));
    let expired = transport.call(&destination, read("expired"), in_ms(10)).await;
    let mut waiting = transport.call(&destination, read("waiting"), far());

    let mut by_hand = ByHand::over(socket.accept().await.unwrap().0);
    let sent = tokio::select! {
        sent = async { by_hand.welcome().await; by_hand.next_frame().await } => sent.unwrap(),
        answer = &mut waiting => panic!("{answer:?}"),
    };

    assert_eq!(expired, Err(CallError::TimedOut));
    let request = decode_request(Encoded { head: sent.head, payload: sent.payload }).unwrap();
    assert!(matches!(request.body, Request::Read { key, .. } if key == "waiting"));
    assert_eq!(transport.unsent(), UnsentCounts { expired: 1, abandoned: 1 });
}

#[tokio::test]
async fn a_write_is_sent_though_nobody_waits_for_its_answer() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let destination = at(socket.local_addr().unwrap());
    let transport = transport();
    drop(transport.call(&destination, write("given up", b"value".to_vec()), far()));

    let mut by_hand = ByHand::over(socket.accept().await.unwrap().0);
    by_hand.welcome().await;
    let sent = by_hand.next_frame().await.unwrap();

    let request = decode_request(Encoded { head: sent.head, payload: sent.payload }).unwrap();
    assert!(matches!(request.body, Request::Write { .. }), "{request:?}");
}

#[tokio::test]
async fn a_late_answer_finds_nobody_and_the_next_call_gets_its_own() {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let listener = listen(answerer(move |request| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            let _ = gate.acquire().await.unwrap();
            answer_to(request)
        })
    }))
    .await;
    let transport = transport();

    let first = transport.call(&to(&listener), read("first"), in_ms(50)).await;
    let second = transport.call(&to(&listener), read("second"), far());
    until("both are asked", || listener.counts().requests == 2).await;
    // The answers go out in this order: the first one has arrived, late, before the second.
    release.add_permits(1);

    assert_eq!(first, Err(CallError::TimedOut));
    assert_eq!(echoed(second.await), "second");
}

#[tokio::test]
async fn the_remaining_time_is_that_of_the_moment_of_sending() {
    let seen = Arc::new(Mutex::new(None));
    let sees = Arc::clone(&seen);
    let listener = listen(answerer(move |request| {
        *sees.lock() = Some(request.header.remaining);
        Box::pin(async move { answer_to(request) })
    }))
    .await;
    let deadline = far();

    echoed(transport().call(&to(&listener), read("k"), deadline).await);

    let remaining = seen.lock().unwrap();
    assert!(!remaining.is_zero());
    assert!(remaining <= deadline - tokio::time::Instant::now() + std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn a_route_replaces_the_address_of_a_known_node() {
    let listener = listen(echo()).await;
    let route = [(ANSWERER, listener.local_address().to_string())].into();
    let transport = transport_with(PeerSettings { route, ..settings() });
    let elsewhere = Destination { host_id: Some(ANSWERER), address: "127.0.0.1:1".to_owned() };

    assert_eq!(echoed(transport.call(&elsewhere, read("k"), far()).await), "k");

    let unknown = Destination { host_id: None, ..elsewhere };
    let error = transport.call(&unknown, read("k"), far()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let listener = listen(echo()).await;
    let address = format!("localhost:{}", listener.local_address().port());

    let answer = transport().call(&Destination { host_id: None, address }, read("k"), far()).await;

    assert_eq!(echoed(answer), "k");
}

#[tokio::test]
async fn a_call_meant_for_another_node_is_not_delivered() {
    let listener = listen(echo()).await;
    let expected = HostId(Uuid::from_u128(77));
    let address = listener.local_address().to_string();

    let destination = Destination { host_id: Some(expected), address: address.clone() };
    let answer = transport().call(&destination, read("k"), far()).await;

    assert_eq!(answer, Err(CallError::WrongHost { address, expected, found: ANSWERER }));
    assert_eq!(listener.counts().requests, 0);
}

#[tokio::test]
async fn a_node_that_has_moved_is_called_at_its_new_address() {
    let old = listen(echo()).await;
    let new = listen(echo()).await;
    let transport = transport();

    echoed(transport.call(&to(&old), read("k"), far()).await);
    echoed(transport.call(&to(&new), read("k"), far()).await);

    assert_eq!((old.counts().requests, new.counts().requests), (1, 1));
}

#[tokio::test]
async fn an_unknown_verb_is_answered_as_unsupported_and_the_connection_lives_on() {
    let listener = listen(echo()).await;
    let mut by_hand = ByHand::greeted(&listener).await;
    let Encoded { head, .. } = encode_request(&read(""));
    let mut unknown = head.to_vec();
    unknown[0] = 250;

    by_hand.send(&encoded(FrameKind::Request, 41, &unknown)).await;
    let answer = by_hand.next_frame().await.unwrap();
    by_hand.send(&encoded(FrameKind::Request, 42, &head)).await;
    let next = by_hand.next_frame().await.unwrap();

    assert_eq!(answer.correlation, 41);
    let Message { header, body } =
        decode_response(Encoded { head: answer.head, payload: answer.payload }).unwrap();
    assert!(matches!(body, Response::Failed(ReplicaError::Unsupported { verb: 250, .. })), "{body:?}");
    assert_eq!((header.sender, header.target), (ANSWERER, Some(CALLER)));
    assert_eq!(next.correlation, 42);
}

#[tokio::test]
async fn an_unintelligible_request_ends_its_connection() {
    let listener = listen(echo()).await;
    let mut by_hand = ByHand::greeted(&listener).await;
    let Encoded { head, .. } = encode_request(&read("k"));

    by_hand.send(&encoded(FrameKind::Request, 1, &head[..3])).await;

    assert_eq!(by_hand.next_frame().await, None);
    until("it is counted", || listener.counts().damaged == 1).await;
}

#[tokio::test]
async fn an_unintelligible_answer_is_told_to_its_caller() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let transport = transport();
    let call = transport.call(&at(address), read("k"), far());

    let answering = async {
        let mut by_hand = ByHand::over(socket.accept().await.unwrap().0);
        by_hand.welcome().await;
        let request = by_hand.next_frame().await.unwrap();
        by_hand.send(&encoded(FrameKind::Response, request.correlation, b"")).await;
        by_hand
    };
    let (answer, _open) = tokio::join!(call, answering);

    assert!(matches!(answer, Err(CallError::Malformed { .. })), "{answer:?}");
}

#[tokio::test]
async fn what_is_too_long_for_a_frame_is_a_typed_error_in_both_directions() {
    let listener = listen_with(
        answerer(|request| {
            Box::pin(async move {
                let mut answer = answer_to(request);
                answer.body = Response::Record(Some(Record::plain(CLOCK, vec![0; 5000])));
                answer
            })
        }),
        greeting(ANSWERER),
        &PeerSettings { max_frame_bytes: 4096, ..settings() },
        "127.0.0.1:0",
    )
    .await;
    let transport = transport_with(PeerSettings { max_frame_bytes: 4096, ..settings() });

    let too_long_to_ask = transport.call(&to(&listener), write("k", vec![0; 5000]), far()).await;
    let too_long_to_answer = transport.call(&to(&listener), read("k"), far()).await.unwrap();

    assert_eq!(too_long_to_ask, Err(CallError::Overloaded));
    let refusal = too_long_to_answer.body;
    assert!(matches!(refusal, Response::Failed(ReplicaError::Overloaded(_))), "{refusal:?}");
    assert_eq!(listener.counts().accepted, 1, "the connection lives on");
}
