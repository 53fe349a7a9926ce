//! Timestamps decide who wins; clocks that lie are noticed before they can.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    message::{Message, Relay, ReplicaError, Request, Response, TrafficClass},
    node::{Change, Readiness, Report, Topic},
    node_id::HostId,
    partitioning::{Partitioner, storage_key},
    table::DEFAULT_TABLE_ID,
    time::{Timestamp, WallClock},
};
use helenus_storage::{Mutation, Record};

use crate::support::{Cluster, header, is_tombstone, put, read, value_of, write, write_at};

const DRIFT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn is_ready(cluster: &Cluster, name: &str) -> bool {
    cluster.node(name).readiness() == Readiness::Ready
}

fn set_off_by_an_hour(cluster: &Cluster, is_ahead: bool) {
    let clock = &cluster.machines["n1"].clock;
    match is_ahead {
        true => clock.run_ahead_by(HOUR),
        false => clock.run_behind_by(HOUR),
    }
}

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

    // Nor do hints carry there what they have refused.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let key = storage_key(Partitioner::Murmur3.token(b"key"), b"key");
    for name in ["n2", "n3"] {
        let engine = &cluster.processes[name].storage.engine;
        let held = engine.get(DEFAULT_TABLE_ID, &key).expect("a sound disk").expect("it was acknowledged");
        assert_eq!(held.value().map(|value| &value[..]), Some(&b"value"[..]), "{name}");
    }
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
async fn a_write_wins_over_what_is_stored_though_all_clocks_went_back_over_a_restart() {
    for (size, level) in [(1, One), (3, All)] {
        let mut cluster = Cluster::of(size).await;
        let names: Vec<_> = cluster.machines.keys().cloned().collect();
        cluster.put("n1", "key", "old", level).await.expect("all are alive");
        for name in &names {
            cluster.kill(name).await;
            cluster.machines[name].clock.run_behind_by(DRIFT / 3);
        }
        for name in &names {
            cluster.start(name).await;
        }
        cluster.until("all are ready", |c| c.agrees_on(size) && is_ready(c, "n1")).await;

        cluster.put("n1", "key", "new", level).await.expect("all are alive");
        assert_eq!(cluster.get("n1", "key", level).await, Ok(Some("new".to_owned())), "{size} nodes");
        cluster.delete("n1", "key", level).await.expect("all are alive");
        assert_eq!(cluster.get("n1", "key", level).await, Ok(None), "{size} nodes");
    }
}

#[tokio::test(start_paused = true)]
async fn stamps_are_not_ahead_of_the_clock_after_a_quick_restart() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "first", Quorum).await.expect("all are alive");
    cluster.kill("n1").await;
    cluster.start("n1").await;
    cluster.until("it is back", |c| c.agrees_on(3) && is_ready(c, "n1")).await;

    for name in ["n1", "n2", "n3"] {
        let written = cluster.write(name, write("key", put(name), Quorum)).await.expect("all are alive");
        assert!(written.timestamp <= now(&cluster), "{name}: {:?} at {:?}", written.timestamp, now(&cluster));
        assert_eq!(cluster.get("n2", "key", Quorum).await, Ok(Some(name.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stores_what_is_too_far_ahead_writes_nothing_until_its_clock_has_caught_up() {
    let mut cluster = Cluster::of(1).await;
    cluster.machines["n1"].clock.run_ahead_by(2 * DRIFT);
    cluster.put("n1", "key", "ahead", One).await.expect("alone, nobody can tell");
    cluster.kill("n1").await;
    cluster.machines["n1"].clock.run_ahead_by(Duration::ZERO);
    cluster.start("n1").await;
    cluster.until("it is ready", |c| is_ready(c, "n1")).await;

    for request in [write("key", put("new"), One), write_at("key", Change::Delete, One, Timestamp(7))] {
        let refused = cluster.write("n1", request).await;
        assert!(matches!(refused, Err(RequestError::ClockSkew(_))), "{refused:?}");
    }
    assert_eq!(cluster.get("n1", "key", One).await, Ok(Some("ahead".to_owned())), "reads go on");

    // Its stamps are saved ahead, so that takes a little longer.
    tokio::time::sleep(DRIFT).await;
    cluster.until("its clock has caught up", |c| c.seen("n1", "n1").expect("a member").clock.is_none()).await;
    cluster.put("n1", "key", "new", One).await.expect("within the drift");
    assert_eq!(cluster.get("n1", "key", One).await, Ok(Some("new".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_node_an_hour_off_coordinates_no_writes_until_its_clock_is_set_right() {
    for is_ahead in [true, false] {
        let cluster = Cluster::of(3).await;
        set_off_by_an_hour(&cluster, is_ahead);
        cluster.until("it knows", |c| c.seen("n1", "n1").expect("a member").clock.is_some()).await;

        for request in [
            write("key", put("off"), One),
            write("key", Change::Delete, Quorum),
            write_at("key", put("off"), Quorum, now(&cluster)),
        ] {
            let refused = cluster.write("n1", request).await;
            assert!(matches!(refused, Err(RequestError::ClockSkew(_))), "{refused:?}");
        }
        for reader in ["n1", "n2"] {
            assert_eq!(cluster.read(reader, "key", All).await.expect("all are alive").record, None);
        }
        cluster.put("n2", "key", "value", Quorum).await.expect("n2 and n3 go on");
        assert_eq!(cluster.get("n3", "key", Quorum).await, Ok(Some("value".to_owned())));

        cluster.machines["n1"].clock.run_ahead_by(Duration::ZERO);
        cluster.until("it knows", |c| c.seen("n1", "n1").expect("a member").clock.is_none()).await;
        cluster.put("n1", "key", "right", All).await.expect("it agrees with the others again");
        assert_eq!(cluster.get("n2", "key", All).await, Ok(Some("right".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_an_hour_off_takes_what_others_write_and_counts_for_every_level() {
    for is_ahead in [true, false] {
        let mut cluster = Cluster::of(3).await;
        set_off_by_an_hour(&cluster, is_ahead);
        cluster.until("it knows by how much", |c| offset(c, "n1").abs() > DRIFT.as_micros() as i64).await;

        cluster.put("n2", "all", "value", All).await.expect("all are alive");
        cluster.delete("n3", "all", All).await.expect("all are alive");
        cluster.kill("n3").await;
        cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
        cluster.put("n2", "two", "value", Quorum).await.expect("two are alive");

        let key = storage_key(Partitioner::Murmur3.token(b"two"), b"two");
        let engine = &cluster.processes["n1"].storage.engine;
        let held = engine.get(DEFAULT_TABLE_ID, &key).expect("a sound disk").expect("it was acknowledged");
        assert_eq!(held.value().map(|value| &value[..]), Some(&b"value"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_an_hour_off_still_refuses_what_is_too_far_ahead_of_all_others() {
    for is_ahead in [true, false] {
        let cluster = Cluster::of(4).await;
        set_off_by_an_hour(&cluster, is_ahead);
        cluster.until("it knows by how much", |c| offset(c, "n1").abs() > DRIFT.as_micros() as i64).await;
        let latest = shifted(cluster.machines["n2"].clock.now(), DRIFT);

        for (timestamp, is_taken) in [
            (Timestamp(latest.0 - INTERVAL.as_micros() as u64), true),
            (shifted(latest, HOUR / 2), false),
            (shifted(latest, 2 * HOUR), false),
        ] {
            let answer = cluster.node("n1").handle(written_by(&cluster, "n2", "n1", timestamp)).await.body;
            let is_refused = answer == Response::Written { results: vec![Err(ReplicaError::ClockSkew)] };
            assert_eq!(is_refused, !is_taken, "{timestamp:?}: {answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_future_timestamp_puts_no_clock_off() {
    let cluster = Cluster::of(3).await;
    let behind = Duration::from_secs(2);
    cluster.machines["n3"].clock.run_behind_by(behind);
    let half = Change::Put { value: "lives".into(), ttl: Some(DRIFT / 2) };
    cluster.write("n1", write("expiring", half, All)).await.expect("all are alive");
    let ahead = shifted(now(&cluster), DRIFT - behind / 2);
    cluster.write("n1", write_at("key", put("ahead"), Quorum, ahead)).await.expect("n1 and n2 allow for it");
    let skew = |name: &str| match cluster.node(name).report(&Topic::Info) {
        Some(Report::Info(info)) => info.clock.skew.clone(),
        _ => panic!("it is about a node"),
    };

    cluster.until("n3 could not stamp above the others", |_| skew("n3").is_some()).await;

    let why = skew("n3").unwrap_or_default();
    assert!(why.contains("stamp writes with"), "{why}");
    for name in ["n1", "n2", "n3"] {
        let offset = Duration::from_micros(offset(&cluster, name).unsigned_abs());
        assert!(offset <= behind, "{name}: {offset:?}");
    }
    assert_eq!(cluster.get("n3", "expiring", Quorum).await, Ok(Some("lives".to_owned())));
    cluster.put("n1", "plain", "value", All).await.expect("n3 takes what the others stamp");
}

/// How far the others' median is ahead of a node's clock, as it knows, in microseconds.
fn offset(cluster: &Cluster, name: &str) -> i64 {
    let Some(Report::Info(info)) = cluster.node(name).report(&Topic::Info) else {
        panic!("it is about a node")
    };
    info.clock.offset_us
}

/// A write as a coordinator asks a replica for it.
fn written_by(cluster: &Cluster, sender: &str, of: &str, timestamp: Timestamp) -> Message<Request> {
    let header =
        header(cluster.node(sender).host_id(), Some(cluster.node(of).host_id()), TrafficClass::Request);
    let key = storage_key(Partitioner::Murmur3.token(b"key"), b"key");
    let mutation = Mutation::single(key, Record::plain(timestamp, "value"));
    Message {
        header,
        body: Request::Write {
            writes: vec![(DEFAULT_TABLE_ID, mutation)].into(),
            relay: Relay::None,
            must_win: Vec::new(),
        },
    }
}

/// What a node has been told of its own clock: by whom, and by how many seconds it is ahead of theirs.
fn told(cluster: &Cluster, name: &str) -> Vec<(HostId, i32)> {
    let Some(Report::Info(info)) = cluster.node(name).report(&Topic::Info) else {
        panic!("it is about a node")
    };
    info.clock.told_by.iter().map(|told| (told.host_id, told.ahead_seconds)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_an_hour_off_is_named_by_the_others_and_told_so_and_names_nobody() {
    for is_ahead in [true, false] {
        let cluster = Cluster::of(3).await;
        set_off_by_an_hour(&cluster, is_ahead);
        let [n2, n3] = ["n2", "n3"].map(|name| cluster.node(name).host_id());
        let seconds = if is_ahead { 3600 } else { -3600 };
        let is_near = |told: &[(HostId, i32)]| told.iter().all(|(_, told)| (told - seconds).abs() <= 1);
        let by_both =
            |told: &[(HostId, i32)]| [n2, n3].iter().all(|host| told.iter().any(|(by, _)| by == host));
        cluster
            .until("both have told it", |c| {
                let told = told(c, "n1");
                by_both(&told) && is_near(&told)
            })
            .await;

        let said = |observer| cluster.seen(observer, "n1").expect("a member").clock;
        let way = if is_ahead { "ahead of this node's" } else { "behind this node's" };
        assert!(said("n2").is_some_and(|said| said.contains(way)));
        assert!(said("n1").is_some(), "it says so itself");
        assert_eq!(cluster.seen("n2", "n3").expect("a member").clock, None);
        let counters = |name| cluster.node(name).counters();
        assert_eq!((counters("n2").clocks_off, counters("n2").told_clock_off), (1, 0));
        assert_eq!((counters("n1").clocks_off, counters("n1").told_clock_off), (2, 2));
        for _ in 0..30 {
            assert_eq!((told(&cluster, "n2"), told(&cluster, "n3")), (vec![], vec![]), "they are right");
            tokio::time::sleep(INTERVAL).await;
        }

        cluster.machines["n1"].clock.run_ahead_by(Duration::ZERO);
        cluster.until("nobody says so any more", |c| told(c, "n1").is_empty()).await;
        assert_eq!(cluster.seen("n2", "n1").expect("a member").clock, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_an_hour_off_knows_it_before_its_first_write() {
    for is_ahead in [true, false] {
        let mut cluster = Cluster::of(3).await;
        cluster.kill("n1").await;
        set_off_by_an_hour(&cluster, is_ahead);
        cluster.start("n1").await;

        // As often as it can be asked, so that its first moment is among them.
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut refused = cluster.put("n1", "key", "off", Quorum).await;
        while matches!(refused, Err(RequestError::Starting(_))) && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_micros(100)).await;
            refused = cluster.put("n1", "key", "off", Quorum).await;
        }

        assert!(matches!(refused, Err(RequestError::ClockSkew(_))), "{refused:?}");
        assert_eq!(cluster.read("n2", "key", All).await.expect("all are alive").record, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_off_writes_nothing_either_when_one_who_said_so_is_down() {
    let mut cluster = Cluster::of(3).await;
    cluster.machines["n3"].clock.run_ahead_by(HOUR);
    cluster.until("it knows", |c| c.seen("n3", "n3").expect("a member").clock.is_some()).await;
    cluster.kill("n2").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n2") && c.sees_down("n3", "n2")).await;

    let outvoted = cluster.put("n3", "key", "value", One).await;
    assert!(matches!(outvoted, Err(RequestError::ClockSkew(_))), "{outvoted:?}");
    cluster.put("n1", "key", "value", One).await.expect("its clock is right");
}

#[tokio::test(start_paused = true)]
async fn a_plain_write_wins_over_a_clients_future_timestamp_that_its_coordinator_has_seen() {
    // All are replicas, so every node has seen what was written at ALL.
    let cluster = Cluster::of(3).await;
    for (writer, next) in [("n1", "n2"), ("n2", "n3"), ("n3", "n3")] {
        let ahead = shifted(now(&cluster), DRIFT / 2);
        cluster.write(writer, write_at(writer, put("future"), All, ahead)).await.expect("all are alive");
        cluster.put(next, writer, "plain", Quorum).await.expect("all are alive");
        assert_eq!(cluster.get("n1", writer, All).await, Ok(Some("plain".to_owned())), "{writer}, {next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_write_wins_over_what_was_written_or_read_through_the_same_node() {
    // Of five nodes three are replicas: some of the coordinators are none.
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        for is_read in [true, false] {
            let cluster = Cluster::of(5).await;
            let ahead = shifted(now(&cluster), DRIFT / 2);
            let writer = if is_read { "n1" } else { name };
            cluster
                .write(writer, write_at("key", put("future"), Quorum, ahead))
                .await
                .expect("all are alive");
            if is_read {
                assert_eq!(cluster.get(name, "key", Quorum).await, Ok(Some("future".to_owned())));
            }

            cluster.put(name, "key", "plain", Quorum).await.expect("all are alive");

            assert_eq!(cluster.get("n1", "key", All).await, Ok(Some("plain".to_owned())), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stamps_rise_over_a_restart_though_nobody_is_left_who_stores_the_last() {
    let mut cluster = Cluster::with(2, |settings| settings.default_replication_factor = Some(1)).await;
    cluster.machines["n1"].clock.run_ahead_by(DRIFT / 3);
    let n1 = cluster.node("n1").host_id();
    let (mut last, mut own_key) = (None, None);
    for number in 0..20 {
        let key = format!("key {number}");
        let mut question = read(&key, One);
        question.options.trace = true;
        let trace = cluster.node("n1").read(question).await.expect("both are alive").met.trace;
        if trace.iter().any(|event| event.what.starts_with(&format!("asked {n1} "))) {
            own_key = Some(key);
        } else {
            last = Some(cluster.put("n1", &key, "value", One).await.expect("both are alive").timestamp);
        }
    }
    for name in ["n1", "n2"] {
        cluster.kill(name).await;
    }
    cluster.machines["n1"].clock.run_ahead_by(Duration::ZERO);

    cluster.start("n1").await;
    cluster.until("it needs nobody", |c| c.node("n1").readiness() == Readiness::Ready).await;
    let own_key = own_key.expect("n1 owns half of all keys");
    let again = Some(cluster.put("n1", &own_key, "value", One).await.expect("its own replica").timestamp);

    assert!(last.is_some() && again > last, "{again:?} is not later than {last:?}");
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
    let record = outcome.record.expect("what is left of an expired record");
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
