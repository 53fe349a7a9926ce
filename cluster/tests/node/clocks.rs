//! Timestamps decide who wins; clocks that lie are noticed before they can.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, Quorum},
    error::RequestError,
    message::ReplicaError,
    node::Change,
    time::{Timestamp, WallClock},
};

use crate::support::{Cluster, is_tombstone, put, value_of, write, write_at};

const DRIFT: Duration = Duration::from_secs(60);

fn now(cluster: &Cluster) -> Timestamp {
    cluster.machines["n1"].clock.now()
}

fn shifted(timestamp: Timestamp, by: Duration) -> Timestamp {
    Timestamp(timestamp.0 + by.as_micros() as u64)
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_timestamp_is_used_as_it_is() {
    let cluster = Cluster::of(3).await;

    for change in [put("value"), Change::Delete] {
        let request = write_at("key", change, Quorum, Timestamp(7));
        assert_eq!(cluster.write("n1", request).await.expect("all are alive").timestamp, Timestamp(7));
    }
    let record = cluster.read("n2", "key", Quorum).await.expect("all are alive").record;
    assert_eq!(record.expect("it was written").timestamp, Timestamp(7));
}

#[tokio::test(start_paused = true)]
async fn a_clients_timestamp_must_lie_between_one_and_now_plus_the_drift() {
    let cluster = Cluster::of(3).await;
    let latest = shifted(now(&cluster), DRIFT);

    for change in [put("value"), Change::Delete] {
        for refused in [Timestamp(0), shifted(latest, Duration::from_micros(1)), Timestamp(u64::MAX)] {
            let answer = cluster.write("n1", write_at("key", change.clone(), Quorum, refused)).await;
            assert_eq!(answer, Err(RequestError::TimestampOutOfRange { timestamp: refused, max: latest }));
        }
    }
    assert_eq!(cluster.read("n1", "key", All).await.expect("all are alive").record, None);
    cluster.write("n1", write_at("key", put("value"), Quorum, latest)).await.expect("just within the drift");
}

#[tokio::test(start_paused = true)]
async fn replicas_refuse_a_coordinator_whose_clock_is_far_ahead() {
    let cluster = Cluster::of(3).await;
    cluster.machines["n1"].clock.run_ahead_by(2 * DRIFT);

    for change in [put("value"), Change::Delete] {
        let failed = cluster.write("n1", write("key", change, Quorum)).await;
        let Err(RequestError::Failed { failures, .. }) = failed else { panic!("{failed:?}") };
        assert!(failures.iter().all(|(_, error)| *error == ReplicaError::ClockSkew), "{failures:?}");
    }
    cluster.put("n2", "key", "value", Quorum).await.expect("n2 and n3 agree on the time");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_whose_clock_is_behind_still_overwrites_what_it_has_heard_of() {
    let cluster = Cluster::of(3).await;
    cluster.machines["n2"].clock.run_behind_by(DRIFT / 2);
    cluster.put("n1", "key", "old", All).await.expect("all are alive");

    cluster.put("n2", "key", "new", All).await.expect("within the drift");

    assert_eq!(cluster.get("n3", "key", All).await, Ok(Some("new".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn stamps_of_a_node_rise_even_when_its_clock_stands_or_goes_back() {
    let cluster = Cluster::of(3).await;

    let mut last = Timestamp(0);
    for number in 0..10 {
        cluster.machines["n1"].clock.run_behind_by(Duration::from_secs(number));
        let stamp = cluster.put("n1", "key", "value", Quorum).await.expect("all are alive").timestamp;
        assert!(stamp > last, "{stamp:?} after {last:?}");
        last = stamp;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_writes_with_one_timestamp_the_same_wins_everywhere() {
    let cluster = Cluster::of(3).await;
    let tie = Timestamp(1_000);
    for (key, first, second) in [("up", "a", "b"), ("down", "b", "a")] {
        cluster.write("n1", write_at(key, put(first), All, tie)).await.expect("all are alive");
        cluster.write("n2", write_at(key, put(second), All, tie)).await.expect("all are alive");
        assert_eq!(cluster.get("n3", key, All).await, Ok(Some("b".to_owned())), "the larger value");
    }
    for (key, first, second) in
        [("put first", put("a"), Change::Delete), ("delete first", Change::Delete, put("a"))]
    {
        cluster.write("n1", write_at(key, first, All, tie)).await.expect("all are alive");
        cluster.write("n2", write_at(key, second, All, tie)).await.expect("all are alive");
        assert_eq!(cluster.get("n3", key, All).await, Ok(None), "the deletion");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_put_that_arrives_after_a_delete_does_not_resurrect_the_key() {
    let cluster = Cluster::of(3).await;
    cluster.write("n1", write_at("key", put("first"), All, Timestamp(10))).await.expect("all are alive");
    cluster.write("n1", write_at("key", Change::Delete, All, Timestamp(20))).await.expect("all are alive");

    cluster.write("n2", write_at("key", put("late"), All, Timestamp(15))).await.expect("all are alive");

    assert_eq!(cluster.get("n3", "key", All).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_value_with_a_time_to_live_reads_as_deleted_once_it_has_passed() {
    let cluster = Cluster::of(3).await;
    let ttl = Duration::from_secs(60);
    let change = Change::Put { value: "value".into(), ttl: Some(ttl) };
    let before = now(&cluster);
    cluster.write("n1", write("key", change, All)).await.expect("all are alive");

    let outcome = cluster.read("n2", "key", Quorum).await.expect("all are alive");
    assert_eq!(value_of(&outcome), Some("value".to_owned()));

    tokio::time::sleep(ttl).await;
    let outcome = cluster.read("n2", "key", Quorum).await.expect("all are alive");
    let record = outcome.record.expect("an expired record equals its tombstone");
    assert!(is_tombstone(&record), "{record:?}");
    assert!(outcome.now >= shifted(before, ttl));
}

#[tokio::test(start_paused = true)]
async fn the_reads_own_now_decides_what_has_expired() {
    let cluster = Cluster::of(3).await;
    let change = Change::Put { value: "value".into(), ttl: Some(Duration::from_secs(60)) };
    cluster.write("n1", write("key", change, All)).await.expect("all are alive");

    cluster.machines["n2"].clock.run_ahead_by(Duration::from_secs(61));

    assert_eq!(cluster.get("n2", "key", All).await, Ok(None), "by the clock of n2 it has expired");
    assert_eq!(cluster.get("n3", "key", All).await, Ok(Some("value".to_owned())), "by that of n3 it has not");
}
