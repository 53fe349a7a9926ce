//! A write wins over what was acknowledged before it began, whatever its coordinator has heard of that; where it cannot, it
//! has failed.

use std::time::Duration;

use futures_util::future::join_all;
use helenus_cluster::{
    consistency::Consistency::{self, All, LocalQuorum, One, Quorum},
    error::RequestError,
    node::{Change, WriteOutcome, WriteRequest, in_order},
    partitioning::{Partitioner, storage_key},
    table::DEFAULT_TABLE_ID,
    time::{Timestamp, WallClock},
};
use helenus_storage::{Mutation, Record, Step, StepOutcome};
use tokio::time::{Instant, sleep};

use crate::{
    datacenters::two_datacenters,
    support::{Cluster, put, read, write, write_at},
};

const DRIFT: Duration = Duration::from_secs(60);
const REPLICAS: [&str; 3] = ["n1", "n2", "n3"];

fn from_now(cluster: &Cluster, by: Duration) -> Timestamp {
    Timestamp(cluster.machines["n4"].clock.now().0 + by.as_micros() as u64)
}

fn restamped(cluster: &Cluster) -> u64 {
    cluster.processes.values().map(|process| process.node.counters().requests.restamped_writes).sum()
}

/// Gives replicas a record, and tells nobody.
fn give(cluster: &Cluster, names: &[&str], key: &str, record: &Record) {
    let key = storage_key(Partitioner::Murmur3.token(key.as_bytes()), key.as_bytes());
    for name in names {
        let mutation = Mutation::single(key.clone(), record.clone());
        let engine = &cluster.processes[*name].storage.engine;
        engine.apply_and_wait(DEFAULT_TABLE_ID, mutation).expect("a sound disk");
    }
}

fn flush(cluster: &Cluster) {
    for process in cluster.processes.values() {
        process.storage.engine.switch_memtables().expect("a sound disk");
        while process.storage.engine.step(Step::Flush).expect("a sound disk") == StepOutcome::Worked {}
    }
}

/// Four nodes, and so many keys of which the last one is no replica.
async fn cluster_and_keys(count: usize) -> (Cluster, Vec<String>) {
    let cluster = Cluster::of(4).await;
    let n4 = cluster.node("n4").host_id().to_string();
    let mut keys = Vec::new();
    for key in (0..).map(|number| format!("key {number}")) {
        let mut question = read(&key, One);
        question.options.trace = true;
        let trace = cluster.node("n1").read(question).await.expect("all are alive").met.trace;
        let placed = trace.iter().find(|event| event.what.starts_with("token ")).expect("it is placed");
        if !placed.what.contains(&n4) {
            keys.push(key);
        }
        if keys.len() == count {
            break;
        }
    }
    (cluster, keys)
}

async fn write_new(cluster: &Cluster, key: &str, level: Consistency) -> Result<Timestamp, RequestError> {
    let WriteOutcome { timestamp, observed, .. } = cluster.put("n4", key, "new", level).await?;
    let told = observed.map(|observed| observed.version.timestamp);
    assert_eq!(told, Some(timestamp), "a session is told of the stamp that it has in the end");
    Ok(timestamp)
}

#[tokio::test(start_paused = true)]
async fn a_write_wins_over_what_was_there_before_whoever_had_it_and_however_far_ahead_it_is() {
    let cases = [
        (&[][..], Quorum, false),
        // The others are more than half: nobody has acknowledged it at such a level.
        (&["n1"], Quorum, false),
        (&["n1", "n3"], Quorum, true),
        (&REPLICAS, Quorum, true),
        (&REPLICAS, One, false),
        (&["n2"], All, true),
        (&REPLICAS, All, true),
    ];
    for (ahead, is_flushed) in [(2_000, false), (5_000_000, false), (2_000, true), (5_000_000, true)] {
        for (holders, level, is_stamped_anew) in &cases {
            let case = format!("{holders:?} have it, {ahead} us ahead, {level}, {is_flushed}");
            let (cluster, keys) = cluster_and_keys(1).await;
            let (key, ahead) = (&keys[0], from_now(&cluster, Duration::from_micros(ahead)));
            give(&cluster, holders, key, &Record::plain(ahead, "old"));
            if is_flushed {
                flush(&cluster);
            }

            let written = write_new(&cluster, key, *level).await.expect("all are alive");

            assert_eq!(
                (written > ahead, restamped(&cluster) > 0),
                (*is_stamped_anew, *is_stamped_anew),
                "{case}"
            );
            if *is_stamped_anew {
                assert_eq!(cluster.get("n1", key, Quorum).await, Ok(Some("new".to_owned())), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_the_writes_of_one_key_in_a_batch_the_last_is_stamped_anew() {
    for (last, expected) in [(put("last"), Some("last".to_owned())), (Change::Delete, None)] {
        let (cluster, keys) = cluster_and_keys(1).await;
        let key = &keys[0];
        let ahead = Record::plain(from_now(&cluster, Duration::from_secs(5)), "old");
        give(&cluster, &REPLICAS, key, &ahead);

        let own = write_at(key, put("own"), Quorum, from_now(&cluster, Duration::ZERO));
        let refused = write(key, put("refused"), Consistency::Count(7));
        let requests = [own, write(key, put("first"), Quorum), write(key, last, Quorum), refused];
        let outcomes = in_order(cluster.node("n4").write_batch(requests.to_vec())).await;

        let stamps: Vec<_> =
            outcomes.iter().map(|one| one.as_ref().map_or(Timestamp(0), |one| one.timestamp)).collect();
        assert!(
            stamps[0] < stamps[1] && stamps[1] < ahead.timestamp && ahead.timestamp < stamps[2],
            "{stamps:?}"
        );
        assert!(outcomes[3].is_err());
        assert_eq!(cluster.get("n1", key, Quorum).await, Ok(expected));
        assert_eq!(restamped(&cluster), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_one_key_in_a_batch_stay_in_their_order_however_they_are_stamped() {
    let (cluster, keys) = cluster_and_keys(3).await;
    for (number, key) in (1..).zip(&keys) {
        let ahead = from_now(&cluster, number * Duration::from_secs(5));
        give(&cluster, &REPLICAS, key, &Record::plain(ahead, "old"));
    }
    let own = write_at(&keys[2], put("own"), Quorum, from_now(&cluster, Duration::from_secs(1)));
    let requests = [
        write(&keys[0], put("1"), Quorum),
        write(&keys[0], put("2"), Quorum),
        write(&keys[1], put("1"), Quorum),
        write(&keys[1], Change::Delete, Quorum),
        own,
        write(&keys[2], put("2"), Quorum),
    ];
    let outcomes = in_order(cluster.node("n4").write_batch(requests.to_vec())).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for (key, expected) in keys.iter().zip([Some("2"), None, Some("2")]) {
        assert_eq!(cluster.get("n1", key, Quorum).await, Ok(expected.map(str::to_owned)), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_overtakes_a_write_at_more_than_half_of_the_replicas_loses_to_it() {
    let (cluster, keys) = cluster_and_keys(4).await;
    for (key, holders) in keys.iter().zip([&[][..], &["n3"], &["n1", "n2"], &REPLICAS]) {
        REPLICAS.iter().for_each(|name| cluster.pause(name));
        let overtake = async {
            sleep(Duration::from_millis(20)).await;
            let later = Record::plain(from_now(&cluster, Duration::ZERO), "later");
            give(&cluster, holders, key, &later);
            sleep(Duration::from_millis(20)).await;
            REPLICAS.iter().for_each(|name| cluster.resume(name));
            later.timestamp
        };
        let (written, later) = tokio::join!(write_new(&cluster, key, Quorum), overtake);

        // Nobody can tell it from what was acknowledged before the write began.
        let wins = written.expect("all are alive") > later;
        assert_eq!(wins, holders.len() >= 2, "{holders:?}");
        let last = if holders.is_empty() || wins { "new" } else { "later" };
        assert_eq!(cluster.get("n1", key, All).await, Ok(Some(last.to_owned())), "{holders:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_holds_no_write_up_whatever_it_might_have_said() {
    let (cluster, keys) = cluster_and_keys(4).await;
    let cases = [(2, &["n1", "n2"][..]), (4, &["n2"]), (5_000, &["n1", "n2"]), (10_000, &["n2"])];
    for (key, (ahead, holders)) in keys.iter().zip(cases) {
        let other = Record::plain(from_now(&cluster, Duration::from_millis(ahead)), "other");
        give(&cluster, holders, key, &other);
        cluster.pause("n3");
        let begun = Instant::now();

        let written = write_new(&cluster, key, Quorum).await;

        let took = begun.elapsed();
        cluster.resume("n3");
        assert!(written.is_ok_and(|stamp| stamp > other.timestamp), "{ahead} ms, {holders:?}");
        let patience = Duration::from_millis(if holders.len() == 2 { 20 } else { 50 });
        assert!(took < patience, "{took:?} for {ahead} ms, {holders:?}");
        assert_eq!(cluster.get("n3", key, All).await, Ok(Some("new".to_owned())));
    }
    assert_eq!(restamped(&cluster), 4);
}

#[tokio::test(start_paused = true)]
async fn of_a_short_time_enough_is_left_to_write_once_more() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let other = Record::plain(from_now(&cluster, Duration::from_secs(5)), "other");
    give(&cluster, &["n2"], &keys[0], &other);
    cluster.pause("n3");
    let mut request = write(&keys[0], put("new"), Quorum);
    request.options.timeout = Some(Duration::from_millis(20));

    let written = cluster.write("n4", request).await;

    assert!(written.as_ref().is_ok_and(|one| one.timestamp > other.timestamp), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_stamped_anew_while_another_of_its_round_still_waits() {
    let (cluster, keys) = cluster_and_keys(2).await;
    let ahead = from_now(&cluster, Duration::from_secs(5));
    give(&cluster, &["n1"], &keys[0], &Record::plain(ahead, "old"));
    // By the clock of n2 the other one comes from the future.
    ["n1", "n3", "n4"].iter().for_each(|name| {
        cluster.machines[*name].clock.run_ahead_by(Duration::from_secs(10));
    });
    let others = write_at(&keys[1], put("new"), Quorum, from_now(&cluster, DRIFT - Duration::from_secs(1)));
    cluster.pause("n3");
    let begun = Instant::now();

    let stamped_anew = async {
        let stamp = write_new(&cluster, &keys[0], Quorum).await;
        (stamp, begun.elapsed())
    };
    let ((stamp, took), other) = tokio::join!(stamped_anew, cluster.write("n4", others));

    assert!(stamp.as_ref().is_ok_and(|stamp| *stamp > ahead), "{stamp:?}");
    assert!(took < Duration::from_millis(50), "{took:?}");
    assert!(matches!(other, Err(RequestError::Timeout { .. })), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_replica_hinders_no_new_stamp() {
    let (mut cluster, keys) = cluster_and_keys(2).await;
    cluster.kill("n2").await;
    cluster.until("the death is known", |c| c.sees_down("n4", "n2") && c.sees_down("n1", "n2")).await;
    for (key, holders) in keys.iter().zip([&["n1", "n3"][..], &["n3"]]) {
        let ahead = from_now(&cluster, Duration::from_secs(20));
        give(&cluster, holders, key, &Record::plain(ahead, "old"));

        let stamp = write_new(&cluster, key, Quorum).await.expect("two of three are alive");

        assert!(stamp > ahead);
        assert_eq!(cluster.get("n1", key, Quorum).await, Ok(Some("new".to_owned())));
    }
}

/// Whether the next write of each key wins over one through `n1`, by whichever node it is made.
async fn later_writes_win(cluster: &Cluster, first: impl Fn(&str, u64) -> WriteRequest) {
    for number in 0..30 {
        let key = format!("key {number}");
        cluster.write("n1", first(&key, number)).await.expect("all are alive");
        let (coordinator, is_deletion) = (format!("n{}", 2 + number % 5), number % 2 == 0);
        let change = if is_deletion { Change::Delete } else { put("new") };
        cluster.write(&coordinator, write(&key, change, Quorum)).await.expect("all are alive");

        let expected = (!is_deletion).then(|| "new".to_owned());
        assert_eq!(cluster.get("n1", &key, Quorum).await, Ok(expected), "{key} through {coordinator}");
    }
    assert!(restamped(cluster) > 0, "some had not heard of it");
}

#[tokio::test(start_paused = true)]
async fn a_write_wins_over_a_clients_future_timestamp_that_its_coordinator_has_not_seen() {
    let cluster = Cluster::of(6).await;
    let from_the_future = |key: &str, number| {
        write_at(key, put("old"), Quorum, from_now(&cluster, Duration::from_secs(20 + number)))
    };
    later_writes_win(&cluster, from_the_future).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_wins_over_what_a_coordinator_whose_clock_is_ahead_has_just_stamped() {
    let cluster = Cluster::of(6).await;
    cluster.machines["n1"].clock.run_ahead_by(DRIFT / 2);
    later_writes_win(&cluster, |key, _| write(key, put("old"), Quorum)).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_stamps_that_are_the_same_the_later_write_wins_too() {
    let (cluster, keys) = cluster_and_keys(8).await;
    for (number, key) in keys.iter().enumerate() {
        // Nodes that have followed the same client count on from there.
        let ahead = from_now(&cluster, Duration::from_secs(10 + number as u64));
        cluster.write("n1", write_at("other", put("value"), All, ahead)).await.expect("all are alive");
        sleep(Duration::from_secs(2)).await;
        let first = cluster.put("n1", key, "old, and larger than the new one", Quorum).await;
        let first = first.expect("all are alive").timestamp;

        let second = write_new(&cluster, key, Quorum).await.expect("all are alive");

        assert!(second > first, "{key}");
        assert_eq!(cluster.get("n3", key, Quorum).await, Ok(Some("new".to_owned())), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_behind_wins_over_what_only_another_replica_has_told() {
    for behind in [Duration::from_millis(2), Duration::from_millis(400), DRIFT / 2] {
        let cluster = Cluster::of(3).await;
        cluster.machines["n1"].clock.run_behind_by(behind);
        sleep(Duration::from_secs(20)).await;
        cluster.cut("n1", "n2");
        for number in 0..5 {
            let key = format!("key {number}");
            cluster.put("n2", &key, "old", Quorum).await.expect("it reaches n3");

            let written = cluster.put("n1", &key, "new", Quorum).await.expect("it reaches n3");
            let told = written.observed.map(|observed| observed.version.timestamp);
            assert_eq!(
                told,
                Some(written.timestamp),
                "a session is told of the stamp that it has in the end"
            );

            assert_eq!(
                cluster.get("n2", &key, Quorum).await,
                Ok(Some("new".to_owned())),
                "{key}, {behind:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stamped_anew_while_all_clocks_are_in_step() {
    let cluster = Cluster::of(4).await;
    for (number, name) in ["n1", "n2", "n3", "n4"].into_iter().cycle().take(40).enumerate() {
        cluster.put(name, &format!("key {}", number % 3), "value", Quorum).await.expect("all are alive");
    }
    assert_eq!(restamped(&cluster), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_timestamp_is_not_changed_to_win() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let key = &keys[0];
    give(&cluster, &REPLICAS, key, &Record::plain(from_now(&cluster, DRIFT / 2), "newer"));

    let older = write_at(key, put("older"), Quorum, from_now(&cluster, Duration::ZERO));
    let written = cluster.write("n4", older.clone()).await.expect("all are alive");

    assert_eq!((Some(written.timestamp), restamped(&cluster)), (older.timestamp, 0));
    assert_eq!(cluster.get("n3", key, Quorum).await, Ok(Some("newer".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_cannot_be_stamped_above_what_was_there_has_failed() {
    for is_behind_another in [false, true] {
        let (cluster, keys) = cluster_and_keys(1).await;
        let far_ahead = from_now(&cluster, DRIFT + Duration::from_secs(1));
        give(&cluster, &REPLICAS, &keys[0], &Record::plain(far_ahead, "old"));
        if is_behind_another {
            flush(&cluster);
            let less = from_now(&cluster, Duration::from_secs(1));
            give(&cluster, &REPLICAS, &keys[0], &Record::plain(less, "older"));
        }

        let hidden = write_new(&cluster, &keys[0], Quorum).await;

        assert!(
            matches!(hidden, Err(RequestError::Outrun { newer, .. }) if newer == far_ahead),
            "{is_behind_another}: {hidden:?}"
        );
        sleep(Duration::from_secs(2)).await;
        write_new(&cluster, &keys[0], Quorum).await.expect("its clock allows for it");
        assert_eq!(cluster.get("n1", &keys[0], Quorum).await, Ok(Some("new".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_tell_what_is_newer_however_wrong_their_clocks_are() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let ahead = from_now(&cluster, Duration::from_secs(1));
    give(&cluster, &REPLICAS, &keys[0], &Record::plain(ahead, "old"));
    flush(&cluster);
    REPLICAS.iter().for_each(|name| cluster.machines[*name].clock.run_ahead_by(Duration::from_secs(3_600)));

    let stamp = write_new(&cluster, &keys[0], Quorum).await.expect("nobody has measured them yet");

    assert!(stamp > ahead);
}

#[tokio::test(start_paused = true)]
async fn one_write_of_a_round_is_stamped_anew_and_the_others_are_told() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let ahead = from_now(&cluster, Duration::from_secs(5));
    give(&cluster, &REPLICAS, &keys[0], &Record::plain(ahead, "old"));
    let keys: Vec<String> = keys.into_iter().chain((0..20).map(|number| format!("other {number}"))).collect();

    let written = join_all(keys.iter().map(|key| write_new(&cluster, key, Quorum))).await;

    let stamps: Vec<Timestamp> = written.into_iter().map(|stamp| stamp.expect("all are alive")).collect();
    assert!(stamps[0] > ahead && stamps[1..].iter().all(|stamp| *stamp < ahead), "{stamps:?}");
    assert_eq!(restamped(&cluster), 1);
    assert_eq!(cluster.get("n1", &keys[0], Quorum).await, Ok(Some("new".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_what_has_to_win_wins_whatever_timestamp_a_client_has_chosen_behind_it() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let ahead = from_now(&cluster, Duration::from_secs(3));
    give(&cluster, &REPLICAS, &keys[0], &Record::plain(ahead, "old"));
    let own = write_at(&keys[0], put("own"), Quorum, from_now(&cluster, Duration::from_secs(1)));

    let requests = vec![write(&keys[0], put("new"), Quorum), own];
    let outcomes = in_order(cluster.node("n4").write_batch(requests)).await;

    let stamps: Vec<_> = outcomes.iter().map(|one| one.as_ref().map(|one| one.timestamp)).collect();
    assert!(stamps[0].as_ref().is_ok_and(|stamp| *stamp > ahead), "{stamps:?}");
    assert_eq!(cluster.get("n1", &keys[0], Quorum).await, Ok(Some("new".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn another_datacenter_has_no_say_in_whether_a_local_write_is_stamped_anew() {
    let cluster = two_datacenters().await;
    ["n4", "n5", "n6"].iter().for_each(|name| cluster.pause(name));
    for (key, holders) in [("one", &["n2"][..]), ("two", &["n1", "n2"]), ("all", &REPLICAS)] {
        let ahead = from_now(&cluster, Duration::from_secs(5));
        give(&cluster, holders, key, &Record::plain(ahead, "old"));
        let begun = Instant::now();

        let written = cluster.put("n1", key, "new", LocalQuorum).await.expect("all are alive here");

        let took = begun.elapsed();
        assert_eq!(written.timestamp > ahead, holders.len() > 1, "{key}");
        assert!(took < Duration::from_millis(20), "{key} took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_tells_of_the_second_stamp() {
    let (cluster, keys) = cluster_and_keys(1).await;
    let ahead = from_now(&cluster, DRIFT / 2);
    give(&cluster, &REPLICAS, &keys[0], &Record::plain(ahead, "old"));

    let mut request = write(&keys[0], put("new"), Quorum);
    request.options.trace = true;
    let written = cluster.write("n4", request).await.expect("all are alive");

    let steps: Vec<String> = written.met.trace.into_iter().map(|event| event.what).collect();
    let count = |what: &str| steps.iter().filter(|step| step.contains(what)).count();
    let (behind, anew) =
        (format!("behind a record of {}", ahead.0), format!("stamped anew with {}", ahead.0 + 1));
    assert_eq!((count(&behind), count(&anew), count("level reached: ")), (3, 1, 1), "{steps:#?}");
    assert!(steps.last().is_some_and(|last| last.starts_with("level reached: ")), "{steps:#?}");
}
