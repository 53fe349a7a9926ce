//! Writes of several requests travel together when there are many, and none waits long for another.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    node::{Failure, WriteOutcome, WriteRequest, in_order},
    time::{Timestamp, WallClock},
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use crate::support::{Cluster, put, write};

/// More than a write ever waits for others.
const A_WHILE: Duration = Duration::from_millis(5);

fn puts(count: u32) -> Vec<WriteRequest> {
    (0..count).map(|number| write(&format!("key {number}"), put("value"), Quorum)).collect()
}

/// Each a request of its own, all at once, by the first node.
async fn at_once(cluster: &Cluster, requests: Vec<WriteRequest>) -> Vec<Result<WriteOutcome, Failure>> {
    join_all(requests.into_iter().map(|request| cluster.node("n1").write(request))).await
}

/// How many messages with writes the first node has sent to another one.
fn sent(cluster: &Cluster, to: &str) -> u64 {
    cluster.network.writes_from("n1").get(to).copied().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_while_others_are_under_way_share_a_message() {
    let cluster = Cluster::of(3).await;

    let outcomes = at_once(&cluster, puts(100)).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!((1..=2).contains(&sent(&cluster, "n2")), "{}", sent(&cluster, "n2"));
    for number in [0, 50, 99] {
        let read = cluster.get("n3", &format!("key {number}"), All).await;
        assert_eq!(read, Ok(Some("value".to_owned())));
    }
}

/// One request after the other, each so long after the one before.
async fn one_by_one(
    cluster: &Cluster,
    requests: Vec<WriteRequest>,
    apart: Duration,
) -> Vec<Result<WriteOutcome, Failure>> {
    let write = async |(number, request): (u32, WriteRequest)| {
        sleep(apart * number).await;
        cluster.node("n1").write(request).await
    };
    join_all((0..).zip(requests).map(write)).await
}

#[tokio::test(start_paused = true)]
async fn those_that_come_one_by_one_wait_for_the_round_that_is_under_way() {
    let cluster = Cluster::of(3).await;
    let begun = Instant::now();

    // The first is answered after two milliseconds; the others come before.
    let outcomes = one_by_one(&cluster, puts(20), Duration::from_micros(90)).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(sent(&cluster, "n2"), 2, "the first, and all others");
    assert!(begun.elapsed() <= Duration::from_millis(5), "{:?}", begun.elapsed());
}

/// Clients that each write, and again as soon as they have heard of it and others had so many turns.
async fn twice(cluster: &Cluster, requests: Vec<WriteRequest>, turns: impl Fn(u32) -> u32) -> Duration {
    let node = cluster.node("n1");
    let begun = Instant::now();
    let client = async |number: u32, request: WriteRequest| {
        assert!(node.write(request.clone()).await.is_ok());
        for _ in 0..turns(number) {
            yield_now().await;
        }
        assert!(node.write(request).await.is_ok());
    };
    join_all((0..).zip(requests).map(|(number, request)| client(number, request))).await;
    begun.elapsed()
}

/// There and back, twice.
const TWO_ROUNDS: Duration = Duration::from_millis(4);

#[tokio::test(start_paused = true)]
async fn a_round_waits_for_most_of_those_who_went_before() {
    let cluster = Cluster::of(3).await;

    let elapsed = twice(&cluster, puts(8), |number| if number < 6 { number * 20 } else { 100 }).await;

    assert_eq!(
        (sent(&cluster, "n2"), elapsed),
        (2, TWO_ROUNDS),
        "eight, and eight as soon as six of them had come"
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_come_again_do_not_wait_for_a_few_who_do_not() {
    let cluster = Cluster::of(3).await;

    let (elapsed, _) = tokio::join!(twice(&cluster, puts(3), |_| 1), at_once(&cluster, puts(1)));

    assert_eq!((sent(&cluster, "n2"), elapsed), (2, TWO_ROUNDS));
}

#[tokio::test(start_paused = true)]
async fn nor_do_they_wait_long_for_the_most() {
    let cluster = Cluster::of(3).await;

    let (elapsed, _) = tokio::join!(twice(&cluster, puts(3), |_| 1), at_once(&cluster, puts(10)));

    assert_eq!((sent(&cluster, "n2"), elapsed), (2, TWO_ROUNDS + Duration::from_millis(1)));
}

#[tokio::test(start_paused = true)]
async fn nor_at_all_with_a_timeout_so_short_that_it_would_matter() {
    let cluster = Cluster::of(3).await;
    let hasty = |mut request: WriteRequest| {
        request.options.timeout = Some(Duration::from_millis(20));
        request
    };
    let (three, ten) = (puts(3).into_iter().map(hasty).collect(), puts(10).into_iter().map(hasty).collect());

    let (elapsed, _) = tokio::join!(twice(&cluster, three, |_| 1), at_once(&cluster, ten));

    assert_eq!((sent(&cluster, "n2"), elapsed), (2, TWO_ROUNDS));
}

#[tokio::test(start_paused = true)]
async fn nor_with_a_full_message() {
    let cluster = Cluster::of(3).await;
    let (node, begun) = (cluster.node("n1"), Instant::now());
    let large = async |key: &str| {
        assert!(node.write(write(key, put("small"), Quorum)).await.is_ok());
        assert!(node.write(write(key, put(&"v".repeat(20 << 10)), Quorum)).await.is_ok());
        begun.elapsed()
    };

    // Two fit a message, and the third fills it.
    let (one, two, three, _) = tokio::join!(large("1"), large("2"), large("3"), at_once(&cluster, puts(10)));

    let mut elapsed = [one, two, three];
    elapsed.sort();
    assert_eq!(elapsed[..2], [TWO_ROUNDS; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_single_write_and_a_batch_travel_together_and_each_is_told_of_its_own() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");
    let alone = |key: &str| node.write(write(key, put("value"), Quorum));
    at_once(&cluster, puts(1)).await;
    let before = sent(&cluster, "n2");

    let batch = in_order(node.write_batch(puts(30)));
    let (first, batch, last) = tokio::join!(alone("first"), batch, alone("last"));

    assert!(first.is_ok() && last.is_ok() && batch.len() == 30 && batch.iter().all(Result::is_ok));
    assert_eq!(sent(&cluster, "n2") - before, 1);
    let stamps: Vec<_> = batch.iter().map(|done| done.as_ref().map(|done| done.timestamp)).collect();
    for (number, stamp) in stamps.into_iter().enumerate() {
        let read = cluster.read("n3", &format!("key {number}"), All).await.expect("all are alive");
        assert_eq!(read.record.map(|record| record.timestamp).ok_or(()), stamp.map_err(drop), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_client_hangs_up_while_it_waits_is_sent_all_the_same() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");

    tokio::join!(node.write(puts(1).remove(0)).map(drop), async {
        sleep(Duration::from_micros(500)).await;
        let hangs_up = timeout(Duration::from_micros(500), node.write(write("late", put("value"), Quorum)));
        assert!(hangs_up.await.is_err(), "it had no answer yet");
    });

    sleep(A_WHILE).await;
    assert_eq!(cluster.get("n3", "late", All).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_does_not_keep_those_from_their_reply_that_travel_with_it() {
    let cluster = Cluster::of(3).await;
    // What n1 accepts is too far ahead of n2's clock, and n3 is silent.
    cluster.machines["n2"].clock.run_behind_by(Duration::from_secs(30));
    cluster.pause("n3");
    let ahead = cluster.machines["n1"].clock.now().0 + 50_000_000;
    let mut refused = write("refused", put("value"), Quorum);
    refused.timestamp = Some(Timestamp(ahead));
    let node = cluster.node("n1");
    let begun = Instant::now();

    let (others, refused) =
        tokio::join!(async { (at_once(&cluster, puts(5)).await, begun.elapsed()) }, async {
            (node.write(refused).await, begun.elapsed())
        },);

    assert_eq!(sent(&cluster, "n2"), 1, "in one message");
    assert!(others.0.iter().all(Result::is_ok) && others.1 < Duration::from_millis(10), "{others:?}");
    assert!(refused.0.is_err() && refused.1 > Duration::from_secs(1), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_meets_no_other_goes_at_once_and_one_that_is_traced_goes_alone() {
    let cluster = Cluster::of(3).await;
    let mut traced = write("traced", put("value"), Quorum);
    traced.options.trace = true;

    let begun = Instant::now();
    at_once(&cluster, puts(1)).await;
    let alone = (begun.elapsed(), sent(&cluster, "n2"));
    let mut requests = puts(10);
    requests.push(traced);
    let outcomes = at_once(&cluster, requests).await;

    assert_eq!(alone, (Duration::from_millis(2), 1), "there and back");
    assert_eq!(sent(&cluster, "n2"), 3, "that one, the ten, and the one that is traced");
    let steps = &outcomes[10].as_ref().expect("all are alive").met.trace;
    assert!(steps.iter().any(|step| step.what.contains("synced")), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_holds_up_the_next_ones_for_a_moment_only() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    let of_all = |key: &str| write(key, put("value"), All);
    let timeout = Duration::from_millis(500);
    let first = async {
        let mut request = of_all("first");
        request.options.timeout = Some(timeout);
        at_once(&cluster, vec![request]).await.remove(0)
    };
    let begun = Instant::now();

    let (first, later) = tokio::join!(first, async {
        sleep(Duration::from_millis(1)).await;
        let mut request = of_all("later");
        request.options.timeout = Some(timeout);
        let others = tokio::join!(at_once(&cluster, vec![request]), async {
            sleep(A_WHILE).await;
            (sent(&cluster, "n2"), at_once(&cluster, puts(1)).await, begun.elapsed())
        });
        others.1
    });

    assert!(matches!(first, Err(Failure { error: RequestError::Timeout { .. }, .. })), "{first:?}");
    let (messages, quorum, after) = later;
    assert_eq!(messages, 2, "the later one did not wait for the first");
    assert!(quorum[0].is_ok() && after < Duration::from_millis(10), "nor does another level wait: {after:?}");
}

#[tokio::test(start_paused = true)]
async fn one_whose_time_is_nearly_over_takes_no_time_from_another() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    let timeout = Duration::from_secs(1);
    let now = Instant::now();
    // Of the first, all is left; it makes the others wait for it.
    let with_left = |left: Duration| {
        let mut request = write(&format!("{left:?}"), put("value"), All);
        request.options.timeout = Some(timeout);
        request.options.since = Some(now - (timeout - left));
        request
    };
    let left = [timeout, Duration::from_millis(20), Duration::from_millis(130)];
    let answered = |left| {
        let request = with_left(left);
        async {
            at_once(&cluster, vec![request]).await.remove(0).expect_err("n3 is silent");
            now.elapsed()
        }
    };

    let (all, few, more) = tokio::join!(answered(left[0]), answered(left[1]), answered(left[2]));

    for (left, after) in left.into_iter().zip([all, few, more]) {
        assert!(after >= left && after < left + A_WHILE, "{left:?} left, answered after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_fill_a_message_wait_no_longer() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    let large = |number: u32| {
        let mut request = write(&format!("large {number}"), put(&"v".repeat(20 << 10)), All);
        request.options.timeout = Some(Duration::from_millis(500));
        request
    };

    let (_, (messages, after)) = tokio::join!(at_once(&cluster, (0..20).map(large).collect()), async {
        let begun = Instant::now();
        sleep(Duration::from_millis(1)).await;
        (sent(&cluster, "n2"), begun.elapsed())
    });

    // Two of them fill a message.
    assert!(messages >= 9 && after <= Duration::from_millis(2), "{messages} after {after:?}");
    for number in 0..20 {
        let read = cluster.get("n2", &format!("large {number}"), One).await.expect("it is alive");
        assert_eq!(read.map(|value| value.len()), Some(20 << 10), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_has_an_outcome_of_its_own() {
    let cluster = Cluster::of(3).await;
    cluster.machines["n3"].clock.run_behind_by(Duration::from_secs(30));
    let mut requests = puts(5);
    let ahead = cluster.machines["n1"].clock.now().0 + 50_000_000;
    requests.iter_mut().for_each(|request| request.options.consistency = Some(All));
    requests[4].timestamp = Some(Timestamp(ahead));

    let outcomes = at_once(&cluster, requests).await;

    assert_eq!(sent(&cluster, "n3"), 1);
    assert!(outcomes[..4].iter().all(Result::is_ok), "{outcomes:?}");
    assert!(matches!(outcomes[4], Err(Failure { error: RequestError::Failed { .. }, .. })), "{outcomes:?}");
}
