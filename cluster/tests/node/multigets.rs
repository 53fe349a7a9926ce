//! Reads that are asked for together are asked of each replica in one message, and each has an outcome of its own.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use helenus_cluster::{
    consistency::Consistency::{self, All, One, Quorum},
    error::RequestError,
    node::{Failure, ReadOutcome, ReadRequest, RequestOptions, in_order},
    session::Session,
    table::{Definition, Replication},
};
use tokio::time::Instant;

use crate::support::{Cluster, put, read, value_of, write};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn reads(count: u32, level: Consistency) -> Vec<ReadRequest> {
    (0..count).map(|number| read(&format!("key {number}"), level)).collect()
}

fn of_table(table: &str, request: ReadRequest) -> ReadRequest {
    ReadRequest { table: table.to_owned(), ..request }
}

/// Writes `value 0`, `value 1`, … each to as many bytes at least.
async fn fill(cluster: &Cluster, count: u32, bytes: usize) {
    let value = |number| format!("{:<bytes$}", format!("value {number}"));
    let writes = (0..count).map(|number| write(&format!("key {number}"), put(&value(number)), All));
    for written in in_order(cluster.node("n1").write_batch(writes.collect())).await {
        written.expect("all are alive");
    }
}

/// What came of each, by the first node.
async fn batch(cluster: &Cluster, requests: Vec<ReadRequest>) -> Vec<Result<ReadOutcome, RequestError>> {
    let outcomes = in_order(cluster.node("n1").read_batch(requests)).await;
    outcomes.into_iter().map(|outcome| outcome.map_err(|Failure { error, .. }| error)).collect()
}

fn value(outcome: &Result<ReadOutcome, RequestError>) -> Option<String> {
    value_of(outcome.as_ref().expect("enough are alive")).map(|value| value.trim_end().to_owned())
}

fn assert_all_read(outcomes: &[Result<ReadOutcome, RequestError>], count: usize) {
    assert_eq!(outcomes.len(), count);
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(value(outcome), Some(format!("value {number}")));
    }
}

fn messages(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn of(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// All keys are written at level ALL, and then again while n3 is down.
async fn one_is_behind(count: u32) -> Cluster {
    let mut cluster = Cluster::of(3).await;
    for number in 0..count {
        cluster.put("n1", &format!("key {number}"), "old", All).await.expect("all are alive");
    }
    cluster.kill("n3").await;
    cluster.until("its death is known", |c| c.sees_down("n1", "n3")).await;
    for number in 0..count {
        let value = format!("value {number}");
        cluster.put("n1", &format!("key {number}"), &value, Quorum).await.expect("two of three are alive");
    }
    cluster.start("n3").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn reads_of_one_replica_travel_in_one_message() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 100, 0).await;

    let outcomes = batch(&cluster, reads(100, All)).await;

    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|read| read.met.acknowledged == 3)));
    assert_all_read(&outcomes, 100);
    assert_eq!(cluster.network.multigets_from("n1"), messages(&[("n2", 1), ("n3", 1)]));
    assert_eq!(cluster.network.reads_from("n1"), messages(&[]));
    assert_eq!(batch(&cluster, Vec::new()).await, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn reads_of_other_replicas_tables_and_levels_travel_together() {
    let cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(2)).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let users = Definition::replicated(Replication::Simple { factor: 3 });
    cluster.node("n1").define_table("users", users, deadline).await.expect("nothing speaks against it");
    fill(&cluster, 60, 0).await;
    let users = (0..20).map(|number| of_table("users", read(&format!("key {number}"), Quorum)));

    let outcomes = batch(&cluster, reads(60, All).into_iter().chain(users).collect()).await;

    assert_all_read(&outcomes[..60], 60);
    assert!(outcomes[60..].iter().all(|outcome| value(outcome).is_none()));
    assert_eq!(cluster.network.multigets_from("n1"), messages(&[("n2", 1), ("n3", 1), ("n4", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_too_many_keys_for_a_message_is_split() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 300, 0).await;
    let long = |number: u32| read(&format!("{number:04096}"), All);

    assert_all_read(&batch(&cluster, reads(300, All)).await, 300);
    assert_eq!(cluster.network.multigets_from("n1"), messages(&[("n2", 3), ("n3", 3)]));

    // Eleven of the longest keys fit into one message.
    let outcomes = batch(&cluster, (0..20).map(long).collect()).await;
    assert!(outcomes.iter().all(|outcome| value(outcome).is_none()));
    assert_eq!(cluster.network.multigets_from("n1"), messages(&[("n2", 5), ("n3", 5)]));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_does_not_fit_beside_others_is_asked_for_alone() {
    // Given one replica for each key, so that n1 has some values and asks others for the rest
    let cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(1)).await;
    fill(&cluster, 80, 10 << 10).await;
    cluster.put("n1", "largest", &"v".repeat(200 << 10), All).await.expect("all are alive");

    let mut outcomes = batch(&cluster, [reads(80, One), vec![read("largest", One)]].concat()).await;

    assert_eq!(value(&outcomes.pop().expect("the last one")).map(|value| value.len()), Some(200 << 10));
    assert_all_read(&outcomes, 80);
    assert_eq!(of(&cluster.network.multigets_from("n1")), 3);
    let (alone, elsewhere) = (of(&cluster.network.reads_from("n1")), 3 * 4);
    assert!((30..=81 - elsewhere).contains(&alone), "{alone}");
}

#[tokio::test(start_paused = true)]
async fn once_an_answer_is_full_the_other_records_are_not_read_for_it() {
    let cluster = Cluster::with(1, |settings| settings.default_replication_factor = Some(1)).await;
    fill(&cluster, 128, 10 << 10).await;

    assert_all_read(&batch(&cluster, reads(128, One)).await, 128);

    // Each once for the answer that holds it, and those that are read ahead.
    let reads = cluster.node("n1").replica_counters().reads.count;
    assert!((128..=128 + 32).contains(&reads), "{reads}");
}

#[tokio::test(start_paused = true)]
async fn this_node_reads_itself_once_the_others_are_asked() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 2, 0).await;
    for name in NODES {
        let mut requests = reads(2, All);
        requests.iter_mut().for_each(|request| request.options.trace = true);

        for outcome in in_order(cluster.node(name).read_batch(requests)).await {
            let trace = outcome.expect("all are alive").met.trace;
            let asked: Vec<_> = trace.iter().filter(|step| step.what.starts_with("asked ")).collect();
            let [_, _, last] = asked.as_slice() else { panic!("{trace:#?}") };
            assert!(last.what.contains(&cluster.node(name).host_id().to_string()), "{trace:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_batch_share_places_and_each_that_is_made_alone_takes_another() {
    let full = |settings: &mut helenus_cluster::settings::Settings| settings.max_requests = 1;
    let cluster = Cluster::with(3, full).await;
    fill(&cluster, 80, 0).await;
    assert_all_read(&batch(&cluster, reads(80, All)).await, 80);

    fill(&cluster, 20, 10 << 10).await;
    let outcomes = batch(&cluster, reads(20, All)).await;

    let read = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(read, 4, "as many as fit into one answer");
    let mut refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(refused.all(|error| matches!(error, RequestError::Overloaded(_))), "{outcomes:?}");
    assert_eq!(cluster.node("n1").counters().requests_in_flight, 0, "all places are given back");
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_a_place_for_every_32_of_its_reads_until_they_are_answered() {
    let with_four = |settings: &mut helenus_cluster::settings::Settings| {
        settings.default_replication_factor = Some(1);
        settings.max_requests = 4;
    };
    let cluster = Cluster::with(4, with_four).await;
    fill(&cluster, 96, 0).await;
    cluster.pause("n4");
    let mut places = Vec::new();

    let mut outcomes = pin!(cluster.node("n1").read_batch(reads(96, One)));
    while let Some((_, outcome)) = outcomes.next().await {
        if places.is_empty() {
            let refused = batch(&cluster, reads(33, One)).await;
            assert!(refused.iter().all(|read| matches!(read, Err(RequestError::Overloaded(_)))));
        }
        if outcome.is_ok() {
            places.push(cluster.node("n1").counters().requests_in_flight);
        }
    }

    assert_eq!((places.first(), places.last()), (Some(&3), Some(&1)));
    assert_eq!(cluster.node("n1").counters().requests_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn few_of_a_batch_at_a_time_ask_for_their_keys_alone() {
    // 32 of them, besides the seven places of the batch
    let cluster = Cluster::with(3, |settings| settings.max_requests = 39).await;
    fill(&cluster, 200, 10 << 10).await;

    assert_all_read(&batch(&cluster, reads(200, All)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn with_a_replica_down_each_read_has_the_verdict_of_its_own_replicas() {
    for is_known in [true, false] {
        // Given four nodes, so that the dead one has some of the keys
        let mut cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(2)).await;
        fill(&cluster, 60, 0).await;
        let dead = cluster.node("n4").host_id();
        cluster.kill("n4").await;
        if is_known {
            cluster.until("the death is known", |c| c.sees_down("n1", "n4")).await;
        }

        let outcomes = batch(&cluster, reads(60, All)).await;
        let at_one = batch(&cluster, reads(60, One)).await;

        assert_all_read(&at_one, 60);
        let mut failed = 0;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let key = format!("key {number}");
            let held = cluster.node("n1").look_up("default", key.as_bytes()).await.expect("it is known");
            let has_it = held.replicas.iter().any(|replica| replica.host_id == dead);
            failed += u32::from(has_it);
            match outcome {
                Ok(read) => assert!(!has_it && read.met.acknowledged == 2, "{key}: {read:?}"),
                Err(RequestError::Unavailable { alive: 1, .. }) => assert!(has_it && is_known, "{key}"),
                Err(RequestError::Timeout { lost: 1, .. }) => assert!(has_it && !is_known, "{key}"),
                Err(other) => panic!("{key}: {other:?}"),
            }
        }
        assert!((1..60).contains(&failed), "{failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_is_repaired_for_each_key_before_it_is_answered() {
    let cluster = one_is_behind(20).await;

    let outcomes = batch(&cluster, reads(20, All)).await;

    assert_all_read(&outcomes, 20);
    for number in 0..20 {
        let repaired = cluster.get("n3", &format!("key {number}"), One).await;
        assert_eq!(repaired, Ok(Some(format!("value {number}"))));
    }
    let counters = cluster.node("n1").counters().requests;
    assert_eq!((counters.digest_mismatches, counters.blocking_repairs), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_session_widens_those_reads_of_a_batch_that_need_it() {
    let cluster = one_is_behind(2).await;
    let written = cluster.put("n2", "key 0", "value 0", Quorum).await.expect("all are alive");
    let mut session = Session::default();
    session.note(&written.observed.expect("it belongs to a cluster"));
    // n3 asks itself first.
    let ask = |number: u32| {
        let request = read(&format!("key {number}"), One);
        let session = Some(Arc::new(session.clone()));
        ReadRequest { options: RequestOptions { session, ..request.options }, ..request }
    };
    cluster.cut("n2", "n3");

    let outcomes = in_order(cluster.node("n3").read_batch(vec![ask(0), ask(1)])).await;

    let values: Vec<_> = outcomes.iter().map(|outcome| value_of(outcome.as_ref().expect("alive"))).collect();
    assert_eq!(values[0].as_deref(), Some("value 0"));
    assert!(cluster.node("n3").counters().requests.session_widenings <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_refused_is_its_own_error_and_the_others_are_made() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 2, 0).await;
    let requests = vec![
        read("key 0", Quorum),
        of_table("nothing", read("key 0", Quorum)),
        read("key 0", Consistency::Count(4)),
        read("key 1", Quorum),
    ];

    let outcomes = batch(&cluster, requests).await;

    assert!(matches!(
        outcomes.as_slice(),
        [Ok(_), Err(RequestError::NoSuchTable(_)), Err(RequestError::InvalidConsistency { .. }), Ok(_)]
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_is_made_up_for_by_another_for_every_key() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 30, 0).await;
    cluster.pause("n2");
    let asked = Instant::now();

    assert_all_read(&batch(&cluster, reads(5, Quorum)).await, 5);

    assert!(asked.elapsed() < Duration::from_millis(500), "long before the deadline");
}

#[tokio::test(start_paused = true)]
async fn an_extra_request_for_which_there_is_no_place_fails_no_read() {
    let cluster = Cluster::with(3, |settings| settings.max_requests = 1).await;
    fill(&cluster, 20, 0).await;
    ["n2", "n3"].iter().for_each(|name| cluster.pause(name));

    // All of them are late before their answers come.
    let (outcomes, ()) = tokio::join!(batch(&cluster, reads(20, Quorum)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        ["n2", "n3"].iter().for_each(|name| cluster.resume(name));
    });

    assert_all_read(&outcomes, 20);
    let counters = cluster.node("n1").counters().requests;
    assert_eq!(counters.speculative_retries, 0);
    assert!(counters.refused_speculative_retries >= 20, "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_heard_while_others_of_the_batch_have_all_turns() {
    let cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(1)).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let pairs = Definition::replicated(Replication::Simple { factor: 2 });
    cluster.node("n1").define_table("pairs", pairs, deadline).await.expect("nothing speaks against it");
    fill(&cluster, 200, 10 << 10).await;
    cluster.pause("n2");
    let asked = Instant::now();
    let pairs = (0..20).map(|number| of_table("pairs", read(&format!("key {number}"), One)));
    let requests = pairs.chain(reads(200, One)).collect();

    let answers = async {
        let (mut soon, mut late) = (0, 0);
        let mut outcomes = pin!(cluster.node("n1").read_batch(requests));
        while let Some((place, outcome)) = outcomes.next().await {
            // From when on n3 is asked for keys alone, which takes all turns.
            if cluster.network.reads_from("n1").contains_key("n3") {
                cluster.pause("n3");
            }
            if place < 20 {
                outcome.expect("both replicas of none are silent");
                *(if asked.elapsed() < Duration::from_secs(1) { &mut soon } else { &mut late }) += 1;
                assert!(asked.elapsed() < Duration::from_secs(3), "{place}: as soon as n2 answers");
            }
        }
        (soon, late)
    };
    let ((soon, late), ()) = tokio::join!(answers, async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.resume("n2");
    });

    assert!(soon > 0 && late > 0 && soon + late == 20, "{soon} soon, {late} late");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_skips_a_key_gives_no_key_the_record_of_another() {
    let cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(2)).await;
    fill(&cluster, 60, 0).await;
    cluster.network.skip_a_key_at("n4");

    assert_all_read(&batch(&cluster, reads(60, One)).await, 60);

    assert!(of(&cluster.network.reads_from("n1")) > 1, "those that n4 was asked for are read elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_read_is_answered_however_long_others_of_its_batch_take() {
    let cluster = Cluster::with(4, |settings| settings.default_replication_factor = Some(1)).await;
    fill(&cluster, 40, 0).await;
    cluster.pause("n4");
    let (asked, mut soon, mut late) = (Instant::now(), 0, 0);

    let mut outcomes = pin!(cluster.node("n1").read_batch(reads(40, One)));
    while let Some((number, outcome)) = outcomes.next().await {
        match outcome {
            Ok(read) if asked.elapsed() < Duration::from_millis(100) => {
                assert_eq!(value_of(&read), Some(format!("value {number}")));
                soon += 1;
            }
            Err(Failure { error: RequestError::Timeout { .. }, .. }) => late += 1,
            other => panic!("{other:?}"),
        }
    }

    assert!(soon > 0 && late > 0 && soon + late == 40, "{soon} soon, {late} late");
}

#[tokio::test(start_paused = true)]
async fn a_traced_read_of_a_batch_tells_the_steps_of_its_replicas() {
    let cluster = Cluster::of(3).await;
    fill(&cluster, 2, 0).await;
    let mut requests = reads(2, All);
    requests[1].options.trace = true;

    let outcomes = batch(&cluster, requests).await;

    let traces: Vec<_> = outcomes.into_iter().map(|read| read.expect("all are alive").met.trace).collect();
    assert!(traces[0].is_empty());
    for name in NODES {
        let host_id = cluster.node(name).host_id();
        assert!(traces[1].iter().any(|step| step.node == host_id && step.what == "read from memory"));
    }
    assert!(traces[1].iter().any(|step| step.what.contains("for the record")), "{:#?}", traces[1]);
}
