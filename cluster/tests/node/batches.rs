//! Writes that are asked for together travel together, and each has an outcome of its own.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{self, All, Any, LocalOne, One, Quorum},
    error::RequestError,
    message::ReplicaError,
    node::{Change, Failure, WriteOutcome, WriteRequest, in_order},
    table::{Definition, Replication},
    time::{Timestamp, WallClock},
};
use tokio::time::Instant;

use crate::{
    datacenters::two_datacenters,
    support::{Cluster, put, read, value_of, write, write_at},
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn puts(count: u32, level: Consistency) -> Vec<WriteRequest> {
    (0..count).map(|number| write(&format!("key {number}"), put(&format!("value {number}")), level)).collect()
}

fn of_table(table: &str, request: WriteRequest) -> WriteRequest {
    WriteRequest { table: table.to_owned(), ..request }
}

async fn define(cluster: &Cluster, table: &str, definition: Definition) {
    let deadline = Instant::now() + Duration::from_secs(5);
    cluster.node("n1").define_table(table, definition, deadline).await.expect("nothing speaks against it");
}

/// What came of each, by the first node.
async fn batch(cluster: &Cluster, requests: Vec<WriteRequest>) -> Vec<Result<WriteOutcome, RequestError>> {
    let outcomes = in_order(cluster.node("n1").write_batch(requests)).await;
    outcomes.into_iter().map(|outcome| outcome.map_err(|Failure { error, .. }| error)).collect()
}

async fn values(cluster: &Cluster, count: u32) -> Vec<Option<String>> {
    let mut values = Vec::new();
    for number in 0..count {
        values
            .push(cluster.get("n2", &format!("key {number}"), Quorum).await.expect("two of three are alive"));
    }
    values
}

fn all_values(count: u32) -> Vec<Option<String>> {
    (0..count).map(|number| Some(format!("value {number}"))).collect()
}

/// Messages with writes that `from` has sent, by receiver.
fn sent(cluster: &Cluster, from: &str) -> BTreeMap<String, u64> {
    cluster.network.writes_from(from)
}

fn messages(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(start_paused = true)]
async fn writes_with_the_same_replicas_travel_in_one_message_to_each() {
    let cluster = Cluster::of(3).await;

    let outcomes = batch(&cluster, puts(100, All)).await;

    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|done| done.met.acknowledged == 3)));
    assert_eq!(sent(&cluster, "n1"), messages(&[("n2", 1), ("n3", 1)]));
    assert_eq!(values(&cluster, 100).await, all_values(100));
    assert_eq!(batch(&cluster, Vec::new()).await, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_long_for_a_message_is_split() {
    let cluster = Cluster::of(3).await;
    let large = |key: &str, kib: usize| write(key, put(&"v".repeat(kib << 10)), All);

    // Two of them fit into one message, and the largest fits into none with another.
    let mut requests: Vec<_> = (0..5).map(|number| large(&format!("key {number}"), 20)).collect();
    requests.push(large("largest", 200));
    let outcomes = batch(&cluster, requests).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(sent(&cluster, "n1"), messages(&[("n2", 4), ("n3", 4)]));
    let largest = cluster.get("n2", "largest", All).await.expect("all are alive").expect("it was written");
    assert_eq!(largest.len(), 200 << 10);
}

#[tokio::test(start_paused = true)]
async fn with_a_replica_down_each_write_has_the_verdict_of_its_own_replicas() {
    // Given four nodes, so that the dead one has some of the keys
    for is_known in [true, false] {
        let mut cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(2)).await;
        let dead = cluster.node("n4").host_id();
        cluster.kill("n4").await;
        if is_known {
            cluster.until("the death is known", |c| c.sees_down("n1", "n4")).await;
        }

        let outcomes = batch(&cluster, puts(60, All)).await;

        let mut failed = 0;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let key = format!("key {number}");
            let held = cluster.node("n1").look_up("default", key.as_bytes()).await.expect("it is known");
            let has_it = held.replicas.iter().any(|replica| replica.host_id == dead);
            failed += u32::from(has_it);
            match outcome {
                Ok(done) => {
                    assert!(!has_it && done.met.acknowledged == 2, "{key}: {done:?}");
                }
                Err(RequestError::Unavailable { alive: 1, .. }) => {
                    assert!(has_it && is_known, "{key}");
                }
                Err(RequestError::Timeout { lost: 1, .. }) => {
                    assert!(has_it && !is_known, "{key}");
                }
                Err(other) => panic!("{key}: {other:?}"),
            }
        }
        assert!((1..60).contains(&failed), "{failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_missed_a_batch_gets_a_hint_of_each_write() {
    for is_known in [true, false] {
        let mut cluster = Cluster::of(3).await;
        cluster.kill("n3").await;
        if is_known {
            cluster.until("the death is known", |c| c.sees_down("n1", "n3")).await;
        }

        let outcomes = batch(&cluster, puts(100, Quorum)).await;

        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        cluster.until("all hints are kept", |c| c.node("n1").hints().counters.kept == 100).await;
        cluster.start("n3").await;
        cluster.until("they are delivered", |c| c.node("n3").hints().counters.received == 100).await;
        assert_eq!(values(&cluster, 100).await, all_values(100));
    }
}

#[tokio::test(start_paused = true)]
async fn at_level_any_each_write_without_a_replica_is_satisfied_by_its_own_hint() {
    let mut cluster = Cluster::with(3, |settings| settings.default_replication_factor = Some(1)).await;
    for name in ["n2", "n3"] {
        cluster.kill(name).await;
        cluster.until("the death is known", |c| c.sees_down("n1", name)).await;
    }

    let outcomes = batch(&cluster, puts(30, Any)).await;

    let replicas: Vec<u32> =
        outcomes.iter().map(|done| done.as_ref().expect("a hint").met.acknowledged).collect();
    let hints = replicas.iter().filter(|acknowledged| **acknowledged == 0).count() as u64;
    assert!((1..30).contains(&hints), "{replicas:?}");
    assert_eq!(cluster.node("n1").hints().counters.kept, hints);
}

#[tokio::test(start_paused = true)]
async fn writes_of_several_tables_travel_together_and_each_has_the_level_of_its_table() {
    let cluster = Cluster::of(3).await;
    let of_level = |level| Definition {
        default_write_consistency: level,
        ..Definition::replicated(Replication::Simple { factor: 3 })
    };
    define(&cluster, "users", of_level(All)).await;
    define(&cluster, "events", of_level(One)).await;
    let by_default = |table| {
        let mut request = of_table(table, write("key", put(table), Quorum));
        request.options.consistency = None;
        request
    };

    let outcomes = batch(&cluster, ["users", "events", "default"].map(by_default).into()).await;

    let levels: Vec<_> =
        outcomes.iter().map(|done| done.as_ref().expect("all are alive").met.level).collect();
    assert_eq!(levels, [All, One, Quorum]);
    assert_eq!(sent(&cluster, "n1"), messages(&[("n2", 1), ("n3", 1)]));
    for table in ["users", "events", "default"] {
        let request = helenus_cluster::node::ReadRequest { table: table.to_owned(), ..read("key", All) };
        let outcome = cluster.node("n3").read(request).await.expect("all are alive");
        assert_eq!(value_of(&outcome).as_deref(), Some(table));
    }
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_key_travel_together_and_take_effect_in_their_order() {
    let cluster = Cluster::of(3).await;
    let change = |change: Change| write("key", change, Quorum);

    let changes = vec![change(put("a")), change(put("z")), change(Change::Delete), change(put("b"))];
    let outcomes = batch(&cluster, changes).await;

    let stamps: Vec<Timestamp> =
        outcomes.iter().map(|done| done.as_ref().expect("alive").timestamp).collect();
    assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
    assert_eq!(sent(&cluster, "n1"), messages(&[("n2", 1), ("n3", 1)]));
    assert_eq!(cluster.get("n3", "key", All).await, Ok(Some("b".to_owned())));
    batch(&cluster, vec![change(put("c")), change(Change::Delete)]).await;
    assert_eq!(cluster.get("n3", "key", All).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn of_the_writes_of_one_key_only_the_newest_is_sent_and_the_others_share_its_fate() {
    let cluster = Cluster::of(3).await;
    let now = cluster.machines["n1"].clock.now().0;
    let at = |ahead_ms: u64, value: &str| {
        // Too large for one message together.
        write_at("key", put(&value.repeat(30_000)), Quorum, Timestamp(now + ahead_ms * 1_000))
    };
    let changes = [at(20, "a"), at(30, "b"), write("other", put("value"), Quorum), at(10, "c"), at(15, "d")];

    let outcomes = batch(&cluster, changes.to_vec()).await;

    let stamps = outcomes.iter().map(|done| done.as_ref().expect("alive").timestamp);
    let expected = changes.iter().map(|change| change.timestamp);
    assert!(stamps.zip(expected).all(|(stamp, expected)| expected.is_none_or(|expected| stamp == expected)));
    assert_eq!(sent(&cluster, "n1"), messages(&[("n2", 1), ("n3", 1)]), "`b` with the other key");
    assert_eq!(cluster.get("n3", "key", All).await, Ok(Some("b".repeat(30_000))), "the newest of all");

    ["n2", "n3"].iter().for_each(|name| cluster.pause(name));
    let outcomes = batch(&cluster, vec![at(40, "e"), at(50, "f")]).await;
    let errors: Vec<_> = outcomes.into_iter().map(|done| done.expect_err("one of three has it")).collect();
    assert!(matches!(errors[0], RequestError::Timeout { received: 1, .. }), "{errors:?}");
    assert_eq!(errors[0], errors[1]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_its_own_error_and_the_others_are_done() {
    let cluster = Cluster::of(3).await;
    let good = |key: &str| write(key, put("value"), Quorum);
    let requests = vec![
        good("one"),
        of_table("nothing", good("two")),
        write_at("three", put("value"), Quorum, Timestamp(u64::MAX)),
        write("four", put("value"), Consistency::Count(4)),
        good("five"),
    ];

    let outcomes = batch(&cluster, requests).await;

    assert!(matches!(
        outcomes.as_slice(),
        [
            Ok(_),
            Err(RequestError::NoSuchTable(_)),
            Err(RequestError::TimestampOutOfRange { .. }),
            Err(RequestError::InvalidConsistency { .. }),
            Ok(_)
        ]
    ));
    assert_eq!(cluster.get("n2", "one", All).await, Ok(Some("value".to_owned())));
    assert_eq!(cluster.get("n2", "three", All).await, Ok(None));
    assert_eq!(cluster.get("n2", "five", All).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_replica_refuses_one_write_of_a_message_and_applies_the_others() {
    let cluster = Cluster::of(3).await;
    let culprit = cluster.node("n3").host_id();
    // What n1 accepts is too far ahead of n3's clock.
    cluster.machines["n3"].clock.run_behind_by(Duration::from_secs(30));
    let ahead = Timestamp(cluster.machines["n1"].clock.now().0 + 50_000_000);
    let mut requests = puts(3, All);
    // The last one: what n1 stamps after it is above it.
    requests[2].timestamp = Some(ahead);

    let outcomes = batch(&cluster, requests).await;

    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    let refused = vec![(culprit, ReplicaError::ClockSkew)];
    assert!(
        matches!(&outcomes[2], Err(RequestError::Failed { failures, .. }) if *failures == refused),
        "{outcomes:?}"
    );
    assert_eq!(cluster.get("n3", "key 1", One).await, Ok(Some("value 1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_batch_crosses_to_another_datacenter_once_and_each_write_is_acknowledged_from_there() {
    let cluster = two_datacenters().await;

    let outcomes = batch(&cluster, puts(50, All)).await;

    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|done| done.met.acknowledged == 6)));
    let crossed: Vec<_> = sent(&cluster, "n1").into_iter().filter(|(to, _)| to.as_str() > "n3").collect();
    let [(forwarder, 1)] = crossed.as_slice() else { panic!("{crossed:?}") };
    assert_eq!(sent(&cluster, forwarder).values().sum::<u64>(), 2, "to the two others there");
    for name in ["n4", "n5", "n6"] {
        assert_eq!(cluster.get(name, "key 49", LocalOne).await, Ok(Some("value 49".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_one_place_of_those_for_requests() {
    let cluster = Cluster::with(3, |settings| settings.max_requests = 1).await;

    let outcomes = batch(&cluster, puts(100, Quorum)).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_dropped_under_a_batch_is_gone_for_its_writes_alone() {
    let cluster = Cluster::of(3).await;
    define(&cluster, "users", Definition::replicated(Replication::Simple { factor: 3 })).await;
    for name in NODES {
        let table = cluster.node(name).tables().into_iter().find(|table| table.name == "users");
        let id = table.expect("it is known").id();
        // As if the drop had reached the storage and not the schema yet.
        cluster.processes[name].storage.engine.drop_table(id).expect("a sound disk");
    }

    let outcomes = batch(
        &cluster,
        vec![
            write("one", put("value"), All),
            of_table("users", write("two", put("value"), All)),
            write("three", put("value"), All),
        ],
    )
    .await;

    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Err(RequestError::Failed { received: 0, failures, .. }) if failures.len() == 3)
    );
    // Whether the table is gone, one is asked once for all of them.
    let swaps = cluster.network.swaps();
    let of_users = puts(20, All).into_iter().map(|request| of_table("users", request)).collect();
    let outcomes = batch(&cluster, of_users).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(RequestError::Failed { received: 0, .. }))));
    assert_eq!(cluster.network.swaps() - swaps, 1);
    assert_eq!(
        cluster
            .read("n2", "three", All)
            .await
            .expect("alive")
            .record
            .and_then(|record| record.value().cloned()),
        Some(Bytes::from("value"))
    );
}
