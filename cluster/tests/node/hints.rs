//! What a replica missed reaches it when it is back, or leaves a mark that it has to be repaired.

use std::time::Duration;

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{Any, One, Quorum},
    error::RequestError,
    node::{Handoff, HintStatus, SchemaError, in_order},
    node_id::HostId,
    partitioning::{Partitioner, storage_key},
    table::{DEFAULT_TABLE_ID, Definition, Replication},
    time::{Timestamp, WallClock},
};
use helenus_storage::{
    Step, StepOutcome,
    disk::{Fault, Repeat},
};
use tokio::time::Instant;

use crate::support::{Cluster, put, write, write_at};

fn key_of(key: &str) -> Bytes {
    storage_key(Partitioner::Murmur3.token(key.as_bytes()), key.as_bytes())
}

/// The value that a replica holds itself.
fn held(cluster: &Cluster, name: &str, key: &str) -> Option<Bytes> {
    let engine = &cluster.processes[name].storage.engine;
    let record = engine.get(DEFAULT_TABLE_ID, &key_of(key)).expect("a sound disk");
    record.and_then(|record| record.value().cloned())
}

fn hints(cluster: &Cluster, name: &str) -> HintStatus {
    cluster.node(name).hints()
}

fn hints_for(cluster: &Cluster, name: &str, target: HostId) -> u64 {
    hints(cluster, name)
        .targets
        .iter()
        .find(|hinted| hinted.host_id == target)
        .map_or(0, |hinted| hinted.hints)
}

async fn put_all(cluster: &Cluster, coordinator: &str, keys: std::ops::Range<u32>) {
    for number in keys {
        let outcome =
            cluster.put(coordinator, &format!("key {number}"), &format!("value {number}"), Quorum).await;
        outcome.expect("two of three are alive");
    }
}

fn has_all(cluster: &Cluster, name: &str, keys: std::ops::Range<u32>) -> bool {
    keys.clone().all(|number| {
        held(cluster, name, &format!("key {number}")) == Some(Bytes::from(format!("value {number}")))
    })
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_down_gets_what_it_missed_and_the_hints_are_gone() {
    let mut cluster = Cluster::of(3).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("the others have noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..50).await;
    cluster.until("all hints are kept", |c| hints_for(c, "n1", target) == 50).await;

    cluster.start("n3").await;
    cluster.until("n3 has everything", |c| has_all(c, "n3", 0..50)).await;

    cluster.until("nothing is left of the hints", |c| hints(c, "n1").targets.is_empty()).await;
    let status = hints(&cluster, "n1");
    assert_eq!((status.counters.kept, status.counters.delivered), (50, 50));
    assert_eq!((status.counters.expired, status.marks), (0, Vec::new()));
    assert_eq!(hints(&cluster, "n3").counters.received, 50);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_says_nothing_gets_what_it_missed() {
    let cluster = Cluster::of(3).await;
    // It is taken for alive: the write waits for it until its deadline.
    cluster.pause("n3");
    put_all(&cluster, "n1", 0..3).await;
    let target = cluster.node("n3").host_id();
    cluster.until("hints are kept for it", |c| hints_for(c, "n1", target) == 3).await;

    cluster.resume("n3");
    cluster.until("it has everything", |c| has_all(c, "n3", 0..3)).await;
}

#[tokio::test(start_paused = true)]
async fn hints_survive_the_death_of_their_keeper() {
    let mut cluster = Cluster::of(3).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..10).await;
    cluster.until("all hints are kept", |c| hints_for(c, "n1", target) == 10).await;

    cluster.restart("n1").await;
    assert_eq!(hints_for(&cluster, "n1", target), 10);
    // Further ones go to another run.
    cluster.until("n1 serves", |c| c.agrees_but(3, "n3")).await;
    put_all(&cluster, "n1", 10..20).await;
    cluster.restart("n1").await;

    cluster.start("n3").await;
    cluster.until("n3 has everything", |c| has_all(c, "n3", 0..20)).await;
    cluster.until("nothing is left of the hints", |c| hints(c, "n1").targets.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_leaves_a_mark_that_survives() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_window = Duration::from_secs(20)).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..5).await;
    cluster.until("all hints are kept", |c| hints_for(c, "n1", target) == 5).await;

    cluster.until("they are given up", |c| hints(c, "n1").targets.is_empty()).await;
    cluster.restart("n1").await;
    cluster.start("n3").await;
    cluster.until("all are up", |c| c.agrees_on(3)).await;

    let marks = hints(&cluster, "n1").marks;
    assert_eq!(marks.iter().map(|mark| (mark.target, mark.hints)).collect::<Vec<_>>(), [(target, 5)]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(held(&cluster, "n3", "key 0"), None, "an expired hint is not delivered");
}

#[tokio::test(start_paused = true)]
async fn when_writes_were_missed_is_said_by_the_coordinators_clock_whatever_timestamp_a_client_chose() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_window = Duration::from_secs(20)).await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    let now = || cluster.machines["n1"].clock.now().0;
    let (begun, ahead) = (now(), Timestamp(now() + 50_000_000));
    cluster.write("n1", write_at("key", put("value"), Quorum, ahead)).await.expect("within the drift");
    put_all(&cluster, "n1", 0..5).await;
    cluster.until("all hints are kept", |c| hints(c, "n1").counters.kept == 6).await;
    let kept = now();

    let oldest = hints(&cluster, "n1").targets[0].oldest_run_us;
    assert!((begun..=kept).contains(&oldest), "{begun} <= {oldest} <= {kept}");
    cluster.until("they are given up", |c| hints(c, "n1").targets.is_empty()).await;
    let mark = hints(&cluster, "n1").marks.remove(0);
    assert!((begun..=kept).contains(&mark.since_us), "{begun} <= {} <= {kept}", mark.since_us);
    assert!(mark.until_us <= now(), "{mark:?}");
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_leaves_a_mark() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_bytes = 4 << 10).await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..100).await;

    cluster
        .until("all writes are accounted for", |c| {
            let counters = hints(c, "n1").counters;
            counters.kept + counters.refused == 100
        })
        .await;
    let status = hints(&cluster, "n1");
    assert!(status.counters.kept > 0 && status.counters.refused > 0, "{status:?}");
    assert_eq!(status.marks.iter().map(|mark| mark.hints).sum::<u64>(), status.counters.refused);
    assert!(status.targets[0].bytes < 8 << 10, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn delivery_pauses_and_goes_on() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..5).await;
    cluster.node("n1").handoff(Handoff::Pause).await.expect("nothing is stored");
    cluster.start("n3").await;
    cluster.until("all are up", |c| c.agrees_on(3)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(held(&cluster, "n3", "key 0"), None);

    cluster.node("n1").handoff(Handoff::Resume).await.expect("nothing is stored");
    cluster.until("n3 has everything", |c| has_all(c, "n3", 0..5)).await;
}

#[tokio::test(start_paused = true)]
async fn hints_that_an_operator_drops_leave_a_mark() {
    let mut cluster = Cluster::of(3).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..5).await;
    cluster.until("all hints are kept", |c| hints_for(c, "n1", target) == 5).await;

    let other = cluster.node("n2").host_id();
    assert_eq!(cluster.node("n1").handoff(Handoff::Truncate(Some(other))).await, Ok(0));
    assert_eq!(cluster.node("n1").handoff(Handoff::Truncate(Some(target))).await, Ok(5));

    let status = hints(&cluster, "n1");
    assert!(status.targets.is_empty());
    assert_eq!(status.marks.iter().map(|mark| (mark.target, mark.hints)).collect::<Vec<_>>(), [(target, 5)]);
}

#[tokio::test(start_paused = true)]
async fn hints_of_a_removed_member_go_to_the_present_owners() {
    // Each key has two replicas of four.
    let mut cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(2)).await;
    let target = cluster.node("n4").host_id();
    cluster.kill("n4").await;
    cluster.until("it is convicted", |c| c.sees_down("n1", "n4")).await;
    for number in 0..40 {
        cluster
            .put("n1", &format!("key {number}"), &format!("value {number}"), One)
            .await
            .expect("one is alive");
    }
    cluster.until("hints are kept for it", |c| hints_for(c, "n1", target) > 0).await;

    cluster.until_ok("n4 is removed", |c| c.node("n1").assassinate(target, false)).await;

    cluster
        .until("every key has two replicas again", |c| {
            (0..40).all(|number| {
                let key = format!("key {number}");
                ["n1", "n2", "n3"].iter().filter(|name| held(c, name, &key).is_some()).count() == 2
            })
        })
        .await;
    cluster.until("nothing is left of the hints", |c| hints_for(c, "n1", target) == 0).await;
    assert!(hints(&cluster, "n1").counters.moved > 0);
}

#[tokio::test(start_paused = true)]
async fn hints_of_a_dropped_table_are_superseded() {
    let mut cluster = Cluster::of(3).await;
    let soon = || Instant::now() + Duration::from_secs(5);
    let definition = Definition::replicated(Replication::Simple { factor: 3 });
    let created = cluster.node("n1").define_table("short", definition, soon()).await;
    created.map(drop).map_err(|error: SchemaError| error.to_string()).expect("all are alive");
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    let mut request = write("key", put("value"), Quorum);
    request.table = "short".to_owned();
    cluster.write("n1", request).await.expect("two of three are alive");
    cluster.until("a hint is kept", |c| hints(c, "n1").counters.kept == 1).await;

    cluster.node("n1").drop_table("short", soon()).await.map(drop).expect("two of three are alive");
    cluster.start("n3").await;

    cluster.until("nothing is left of the hint", |c| hints(c, "n1").targets.is_empty()).await;
    let counters = hints(&cluster, "n1").counters;
    assert_eq!((counters.superseded, counters.delivered), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hint_satisfies_level_any_when_no_replica_lives_and_is_delivered() {
    // Each key has one replica of three.
    let mut cluster = Cluster::with(3, |settings| settings.default_replication_factor = Some(1)).await;
    cluster.kill("n2").await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n2") && c.sees_down("n1", "n3")).await;

    let mut hinted = Vec::new();
    for number in 0..30 {
        let key = format!("key {number}");
        let outcome = cluster.put("n1", &key, &format!("value {number}"), Any).await.expect("a hint will do");
        match outcome.met.acknowledged {
            0 => hinted.push(number),
            _ => assert!(held(&cluster, "n1", &key).is_some()),
        }
    }
    assert!(!hinted.is_empty());
    assert_eq!(hints(&cluster, "n1").counters.kept, hinted.len() as u64);

    // Even the death of the coordinator loses nothing.
    cluster.restart("n1").await;
    cluster.start("n2").await;
    cluster.start("n3").await;
    cluster
        .until("each key is at its replica", |c| {
            hinted.iter().all(|number| {
                ["n2", "n3"].iter().any(|name| held(c, name, &format!("key {number}")).is_some())
            })
        })
        .await;
}

/// A key whose only replica is down, so that a write at level any is satisfied by a hint. One was just kept.
async fn hinted_key(cluster: &Cluster) -> String {
    for number in 0..30 {
        let key = format!("key {number}");
        let outcome = cluster.put("n1", &key, "value", Any).await.expect("a hint will do");
        if outcome.met.acknowledged == 0 {
            return key;
        }
    }
    panic!("the dead node owns none of thirty keys");
}

#[tokio::test(start_paused = true)]
async fn level_any_without_hints_and_without_replicas_is_unavailable() {
    let mut cluster = Cluster::with(2, |settings| {
        settings.default_replication_factor = Some(1);
        settings.hint_window = Duration::ZERO;
    })
    .await;
    cluster.kill("n2").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n2")).await;

    let mut unavailable = 0;
    for number in 0..30 {
        match cluster.put("n1", &format!("key {number}"), "value", Any).await {
            Ok(outcome) => assert_eq!(outcome.met.acknowledged, 1),
            Err(RequestError::Unavailable { alive: 0, required: 1, .. }) => unavailable += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(unavailable > 0);
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_fails_on_its_way_to_the_log_may_be_kept_and_is_no_unavailability() {
    let mut cluster = Cluster::with(2, |settings| settings.default_replication_factor = Some(1)).await;
    cluster.kill("n2").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n2")).await;
    let hinted = hinted_key(&cluster).await;
    let disk = &cluster.machines["n1"].disk;
    disk.fail_at(disk.operations() + 1, Fault::Sync, Repeat::Once);

    let outcome = cluster.put("n1", &hinted, "another value", Any).await;

    assert!(matches!(outcome, Err(RequestError::Failed { received: 0, .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn level_any_is_not_met_by_a_hint_that_is_not_on_the_disk_yet() {
    let mut cluster = Cluster::with(2, |settings| settings.default_replication_factor = Some(1)).await;
    cluster.kill("n2").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n2")).await;
    let hinted = hinted_key(&cluster).await;
    cluster.processes["n1"].storage.stall();

    let outcome = cluster.put("n1", &hinted, "another value", Any).await;

    assert!(matches!(outcome, Err(RequestError::Timeout { received: 0, .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn moved_hints_need_no_more_room_than_those_that_they_replace() {
    let mut cluster = Cluster::with(4, |settings| {
        settings.default_replication_factor = Some(2);
        settings.hint_bytes = 4 << 10;
    })
    .await;
    let target = cluster.node("n4").host_id();
    cluster.kill("n4").await;
    cluster.until("it is convicted", |c| c.sees_down("n1", "n4")).await;
    for number in 0..200 {
        cluster.put("n1", &format!("key {number}"), "value", One).await.expect("one is alive");
    }
    cluster.until("there is no more room", |c| hints(c, "n1").counters.refused > 0).await;
    cluster
        .until("all hints are on the disk", |c| hints(c, "n1").counters.kept == hints_for(c, "n1", target))
        .await;
    let before = hints(&cluster, "n1").counters;

    cluster.until_ok("n4 is removed", |c| c.node("n1").assassinate(target, true)).await;

    cluster.until("nothing is left of the hints", |c| hints(c, "n1").targets.is_empty()).await;
    let after = hints(&cluster, "n1").counters;
    assert_eq!((after.moved, after.refused), (before.kept, before.refused));
    assert_eq!(after.kept + after.moved - before.kept, after.delivered + after.moved, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hint_whose_key_has_no_owner_leaves_a_mark() {
    let mut cluster = Cluster::empty();
    cluster.start("n1").await;
    cluster.start_with("n2", |settings| settings.datacenter = "dc2".to_owned()).await;
    cluster.until("both are normal and up", |c| c.agrees_on(2)).await;
    let soon = || Instant::now() + Duration::from_secs(5);
    let target = cluster.node("n2").host_id();
    let elsewhere = Replication::NetworkTopology { factors: [("dc2".to_owned(), 1)].into() };
    let created = cluster.node("n1").define_table("far", Definition::replicated(elsewhere), soon()).await;
    created.map(drop).map_err(|error: SchemaError| error.to_string()).expect("all are alive");
    cluster.kill("n2").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n2")).await;
    let mut request = write("key", put("value"), Any);
    request.table = "far".to_owned();
    cluster.write("n1", request).await.expect("a hint will do");

    cluster.until_ok("n2 is removed", |c| c.node("n1").assassinate(target, true)).await;

    cluster.until("nothing is left of the hint", |c| hints(c, "n1").targets.is_empty()).await;
    let status = hints(&cluster, "n1");
    assert_eq!((status.counters.expired, status.counters.moved), (1, 0));
    assert_eq!(status.marks.iter().map(|mark| (mark.target, mark.hints)).collect::<Vec<_>>(), [(target, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_as_durable_as_the_hint_was_that_it_stands_for() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_bytes = 4 << 10).await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..100).await;
    let accounted_for = |c: &Cluster| hints(c, "n1").counters.kept + hints(c, "n1").counters.refused;
    cluster.until("all writes are accounted for", |c| accounted_for(c) == 100).await;
    cluster.until("there is nothing to save", |c| hints(c, "n1").counters.refused > 0).await;
    let refused = hints(&cluster, "n1").counters.refused;

    // Long before anything that is done once a second.
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.restart("n1").await;

    let marks = hints(&cluster, "n1").marks;
    assert_eq!(marks.iter().map(|mark| mark.hints).sum::<u64>(), refused);
}

#[tokio::test(start_paused = true)]
async fn marks_end_when_an_operator_has_repaired_the_member() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_bytes = 4 << 10).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..100).await;
    cluster.until("there is no more room", |c| !hints(c, "n1").marks.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!hints(&cluster, "n1").marks.is_empty(), "time repairs nothing");

    let other = cluster.node("n2").host_id();
    assert_eq!(cluster.node("n1").handoff(Handoff::Repaired(Some(other))).await, Ok(0));
    assert_eq!(cluster.node("n1").handoff(Handoff::Repaired(Some(target))).await, Ok(1));

    assert!(hints(&cluster, "n1").marks.is_empty());
    cluster.restart("n1").await;
    assert!(hints(&cluster, "n1").marks.is_empty(), "they are forgotten for good");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_put_back_makes_no_hint_younger() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_window = Duration::from_secs(60)).await;
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    put_all(&cluster, "n1", 0..5).await;
    cluster.until("all hints are kept", |c| hints(c, "n1").counters.kept == 5).await;
    let clock = &cluster.machines["n1"].clock;
    clock.run_behind_by(Duration::from_secs(2 * 60 * 60));

    tokio::time::sleep(Duration::from_secs(70)).await;

    assert_eq!(hints(&cluster, "n1").counters.expired, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_missed_is_kept_before_the_others_have_answered() {
    let mut cluster = Cluster::of(3).await;
    let target = cluster.node("n3").host_id();
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    cluster.pause("n2");

    let write = cluster.put("n1", "key 0", "value 0", Quorum);
    let kept = cluster.until("a hint is kept", |c| hints_for(c, "n1", target) == 1);
    tokio::select! {
        biased;
        outcome = write => panic!("n2 says nothing: {outcome:?}"),
        () = kept => {}
    }
}

/// Runs a write of which `n2` has its part, while the disk of the coordinator `n1` stands still: it is not answered. Then the
/// disk goes on and the answer comes, and the coordinator dies at once.
async fn dies_right_after_its_reply<T>(cluster: &mut Cluster, write: impl Future<Output = T>) -> T {
    let storage = &cluster.processes["n1"].storage;
    storage.stall();
    let mut write = std::pin::pin!(write);
    let applied = cluster.until("n2 has it", |c| held(c, "n2", "key 0").is_some());
    tokio::select! {
        biased;
        _ = &mut write => panic!("it is answered, and no hint is on the disk"),
        () = applied => {}
    }
    let answer = loop {
        while storage.engine.step(Step::Commit).expect("a sound disk") == StepOutcome::Worked {}
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(1), &mut write).await {
            break answer;
        }
    };
    cluster.restart("n1").await;
    answer
}

/// A coordinator dies right after its reply while `n3` is dead, which it has noticed or not.
async fn a_reply_waits_for_the_hint_for_a_dead_replica(is_noticed: bool) {
    let mut cluster = Cluster::of(3).await;
    let target = cluster.node("n3").host_id();
    cluster.put("n1", "another key", "value", Quorum).await.expect("all are alive");
    cluster.kill("n3").await;
    if is_noticed {
        cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    }
    assert_eq!(cluster.sees_up("n1", "n3"), !is_noticed);
    let node = cluster.node("n1").clone();

    let written =
        dies_right_after_its_reply(&mut cluster, node.write(write("key 0", put("value"), One))).await;

    written.expect("n2 is alive");
    assert_eq!(hints_for(&cluster, "n1", target), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_waits_for_the_hints_of_replicas_that_are_down() {
    a_reply_waits_for_the_hint_for_a_dead_replica(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_waits_for_the_hint_of_a_replica_whose_connection_was_lost() {
    a_reply_waits_for_the_hint_for_a_dead_replica(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_waits_for_the_marks_of_hints_that_are_not_kept() {
    // Hints that are kept of three, by the bytes and the number of those under way that are allowed.
    for (bytes, in_flight, kept) in [(0, 4096, 0), (1 << 20, 1, 1)] {
        let mut cluster = Cluster::with(3, |settings| {
            settings.hint_bytes = bytes;
            settings.hints_in_flight = in_flight;
        })
        .await;
        let target = cluster.node("n3").host_id();
        cluster.put("n1", "another key", "value", Quorum).await.expect("all are alive");
        cluster.kill("n3").await;
        cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
        let writes = (0..3).map(|number| write(&format!("key {number}"), put("value"), One)).collect();
        let node = cluster.node("n1").clone();

        let written = dies_right_after_its_reply(&mut cluster, in_order(node.write_batch(writes))).await;

        assert!(written.iter().all(Result::is_ok), "n2 is alive: {written:?}");
        assert_eq!(hints_for(&cluster, "n1", target), kept);
        let marks = hints(&cluster, "n1").marks;
        assert_eq!(
            marks.iter().map(|mark| (mark.target, mark.hints)).collect::<Vec<_>>(),
            [(target, 3 - kept)]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_met_its_level_is_acknowledged_though_its_hint_takes_too_long() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "another key", "value", Quorum).await.expect("all are alive");
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    cluster.processes["n1"].storage.stall();

    let written = cluster.put("n1", "key 0", "value", One).await.expect("n2 is alive");

    assert_eq!((written.met.required, written.met.acknowledged), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn marks_of_many_hints_are_saved_together() {
    let mut cluster = Cluster::with(3, |settings| settings.hint_bytes = 0).await;
    cluster.put("n1", "another key", "value", Quorum).await.expect("all are alive");
    cluster.kill("n3").await;
    cluster.until("n1 has noticed", |c| c.sees_down("n1", "n3")).await;
    cluster.processes["n1"].storage.stall();
    let a_moment = || tokio::time::sleep(Duration::from_millis(10));
    let mut written = Vec::new();
    // More come while the marks of those before are on their way.
    for wave in [1, 50, 50] {
        for number in 0..wave {
            let node = cluster.node("n1").clone();
            let request = write(&format!("key {number}"), put("value"), One);
            written.push(tokio::spawn(async move { node.write(request).await }));
        }
        a_moment().await;
        if written.len() > 1 {
            let engine = &cluster.processes["n1"].storage.engine;
            while engine.step(Step::Commit).expect("a sound disk") == StepOutcome::Worked {}
            a_moment().await;
        }
    }

    let answered = written.iter().filter(|write| write.is_finished()).count();
    assert!(answered >= 51, "two syncs are enough for the first two waves, and {answered} are answered");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_whose_own_replica_has_no_room_lacks_nothing_in_the_end() {
    let cluster = Cluster::of(3).await;
    let value = "x".repeat(32 << 10);
    let disk = &cluster.machines["n1"].disk;
    disk.fail_at(0, Fault::NoSpace, Repeat::Forever);
    for number in 0..30 {
        cluster.put("n1", &format!("key {number}"), &value, Quorum).await.expect("two of three have room");
    }
    let lacks = |number: &u32| held(&cluster, "n1", &format!("key {number}")).is_none();
    assert!((0..30).any(|number| lacks(&number)), "its log is full");
    disk.make_room();

    cluster.until("it has everything", |_| !(0..30).any(|number| lacks(&number))).await;
    assert_eq!(hints(&cluster, "n1").marks, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_is_always_refused_holds_the_others_up_for_a_while_only() {
    let cluster = Cluster::of(3).await;
    let soon = || Instant::now() + Duration::from_secs(5);
    let target = cluster.node("n3").host_id();
    let definition = Definition::replicated(Replication::Simple { factor: 3 });
    let created = cluster.node("n1").define_table("refused", definition, soon()).await;
    created.map(drop).map_err(|error: SchemaError| error.to_string()).expect("all are alive");
    let id =
        cluster.node("n1").tables().iter().find(|table| table.name == "refused").expect("it exists").id();
    cluster.node("n1").handoff(Handoff::Pause).await.expect("nothing is stored");
    cluster.pause("n3");
    put_all(&cluster, "n1", 0..3).await;
    let mut request = write("key", put("value"), Quorum);
    request.table = "refused".to_owned();
    cluster.write("n1", request).await.expect("two of three are alive");
    put_all(&cluster, "n1", 3..6).await;
    cluster.until("hints are kept", |c| hints_for(c, "n1", target) == 7).await;
    // n3 alone has lost the table.
    cluster.processes["n3"].storage.engine.drop_table(id).expect("a sound disk");
    cluster.resume("n3");
    cluster.until("all are up", |c| c.agrees_on(3)).await;

    cluster.node("n1").handoff(Handoff::Resume).await.expect("nothing is stored");

    cluster.until("n3 has the others", |c| has_all(c, "n3", 0..6)).await;
    cluster.until("nothing is left of the hints", |c| hints(c, "n1").targets.is_empty()).await;
    let status = hints(&cluster, "n1");
    assert_eq!((status.counters.delivered, status.counters.expired), (6, 1));
    let marks = status.marks.iter().map(|mark| (mark.target, mark.table, mark.hints));
    assert_eq!(marks.collect::<Vec<_>>(), [(target, Some(id.0), 1)]);
}
