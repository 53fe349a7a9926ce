//! Reads ask no more than they need, repair what they find behind, and never go back.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{self, All, One, Quorum},
    error::RequestError,
    node::{ReadRequest, TraceEvent},
    table::{Definition, Replication, SpeculativeRetry},
    time::{Timestamp, WallClock as _},
};
use tokio::time::{Instant, sleep};

use crate::support::{Cluster, put, read, value_of, write, write_at};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Three nodes, and a version that one of them has missed.
async fn one_is_behind(name: &str) -> Cluster {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "old", All).await.expect("all are alive");
    cluster.kill(name).await;
    let others: Vec<_> = NODES.into_iter().filter(|other| *other != name).collect();
    cluster.until("its death is known", |c| others.iter().all(|other| c.sees_down(other, name))).await;
    cluster.put(others[0], "key", "new", Quorum).await.expect("two of three are alive");
    cluster.start(name).await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;
    cluster
}

fn traced(key: &str, level: Consistency) -> ReadRequest {
    let mut request = read(key, level);
    request.options.trace = true;
    request
}

async fn trace_of(cluster: &Cluster, coordinator: &str, level: Consistency) -> Vec<TraceEvent> {
    cluster.node(coordinator).read(traced("key", level)).await.expect("all are alive").met.trace
}

fn count(trace: &[TraceEvent], what: &str) -> usize {
    trace.iter().filter(|event| event.what.contains(what)).count()
}

#[tokio::test(start_paused = true)]
async fn one_replica_sends_the_value_and_only_as_many_are_asked_as_needed() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");

    for (level, digests) in [(One, 0), (Quorum, 1), (All, 2)] {
        let trace = trace_of(&cluster, "n1", level).await;
        assert_eq!(count(&trace, "for the record"), 1, "{level}: {trace:#?}");
        assert_eq!(count(&trace, "for its digest"), digests, "{level}: {trace:#?}");
        assert_eq!(count(&trace, "answers differ"), 0, "{level}: {trace:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_is_repaired_before_the_read_is_answered() {
    for name in NODES {
        let cluster = one_is_behind(name).await;
        assert_eq!(cluster.get(name, "key", One).await, Ok(Some("old".to_owned())), "it missed the write");

        let trace = trace_of(&cluster, "n1", All).await;

        assert_eq!(count(&trace, "answers differ"), 1, "{trace:#?}");
        assert_eq!(count(&trace, "repaired"), 1, "{trace:#?}");
        assert_eq!(cluster.get(name, "key", One).await, Ok(Some("new".to_owned())));
        let counters = cluster.node("n1").counters().requests;
        assert_eq!((counters.digest_mismatches, counters.blocking_repairs), (1, 1));
        let again = trace_of(&cluster, "n1", All).await;
        assert_eq!(count(&again, "answers differ"), 0, "{again:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_an_answer_and_is_repaired_too() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    cluster.kill("n3").await;
    cluster.until("its death is known", |c| c.sees_down("n1", "n3")).await;
    cluster.delete("n1", "key", Quorum).await.expect("two of three are alive");
    cluster.start("n3").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    assert_eq!(cluster.get("n3", "key", Quorum).await, Ok(None));
    assert_eq!(cluster.get("n3", "key", One).await, Ok(None), "n3 has heard of it");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_acknowledged_stays_once_it_was_read() {
    for reader in NODES {
        let mut cluster = Cluster::of(3).await;
        cluster.put("n1", "key", "old", All).await.expect("all are alive");
        for other in ["n2", "n3"] {
            cluster.kill(other).await;
            cluster.until("its death is known", |c| c.sees_down("n1", other)).await;
        }
        cluster.put("n1", "key", "new", One).await.expect("n1 is alive");
        for other in ["n2", "n3"] {
            cluster.start(other).await;
        }
        cluster.until("they are back", |c| c.agrees_on(3)).await;

        let mut seen = Vec::new();
        for _ in 0..3 {
            for through in [reader, "n2", "n3", "n1"] {
                seen.push(cluster.get(through, "key", Quorum).await.expect("all are alive"));
            }
        }

        let first_new = seen.iter().position(|value| value.as_deref() == Some("new")).expect("n1 was asked");
        let back = seen[first_new..].iter().find(|value| value.as_deref() != Some("new"));
        assert_eq!(back, None, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_clock_refuses_a_repair() {
    let cluster = Cluster::with(3, |settings| settings.allowed_drift = Duration::from_secs(5)).await;
    let clock = &cluster.machines["n1"].clock;
    clock.run_ahead_by(Duration::from_secs(4));
    let ahead = Timestamp(clock.now().0 + 4_000_000);
    let refused = cluster.write("n1", write_at("key", put("ahead"), One, ahead)).await;
    assert!(refused.is_ok(), "n1 itself takes it: {refused:?}");
    assert_eq!(cluster.get("n3", "key", One).await, Ok(None), "the others do not");

    assert_eq!(cluster.get("n1", "key", All).await, Ok(Some("ahead".to_owned())));

    assert_eq!(cluster.get("n3", "key", One).await, Ok(Some("ahead".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_is_made_up_for_by_another() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    cluster.pause("n2");

    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(cluster.get("n1", "key", Quorum).await, Ok(Some("value".to_owned())));
        let took = asked.elapsed();
        assert!(took < Duration::from_millis(500), "{took:?} is not long before the deadline");
    }

    let counters = cluster.node("n1").counters().requests;
    assert!(counters.speculative_retries > 0, "{counters:?}");
    assert!(counters.speculative_retries < 20, "it learns whom not to ask: {counters:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_falls_silent_does_not_make_reads_wait_as_long_as_they_had_to_for_it() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    for _ in 0..200 {
        cluster.get("n1", "key", Quorum).await.expect("all are alive");
    }
    // Longer than it takes to forget most of that.
    sleep(Duration::from_secs(60)).await;
    cluster.pause("n2");

    for number in 0..50 {
        let asked = Instant::now();
        assert_eq!(cluster.get("n1", "key", Quorum).await, Ok(Some("value".to_owned())));
        let took = asked.elapsed();
        assert!(took < Duration::from_millis(10), "the {number}th took {took:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let retries = cluster.node("n1").counters().requests.speculative_retries;
    assert!((4..=6).contains(&retries), "{retries}, about one in a second");
}

#[tokio::test(start_paused = true)]
async fn a_tables_speculative_retry_says_when_another_replica_is_asked() {
    let cluster = Cluster::of(3).await;
    let with = |speculative_retry| Definition {
        speculative_retry,
        ..Definition::replicated(Replication::Simple { factor: 3 })
    };
    for (table, retry) in [
        ("never", SpeculativeRetry::None),
        ("soon", SpeculativeRetry::After { millis: 50 }),
        ("always", SpeculativeRetry::Always),
    ] {
        let deadline = Instant::now() + Duration::from_secs(5);
        cluster
            .node("n1")
            .define_table(table, with(retry), deadline)
            .await
            .expect("nothing speaks against it");
    }
    let of_table = |table: &str| ReadRequest { table: table.to_owned(), ..traced("key", Quorum) };
    let all_asked = cluster.node("n1").read(of_table("always")).await.expect("all are alive").met.trace;
    assert_eq!(count(&all_asked, "asked "), 3, "{all_asked:#?}");

    let second = all_asked.iter().filter(|event| event.what.contains("asked ")).nth(1).expect("two at least");
    let silent = NODES
        .into_iter()
        .find(|name| second.what.contains(&cluster.node(name).host_id().to_string()))
        .expect("one of the three");
    cluster.pause(silent);

    let soon = cluster.node("n1").read(of_table("soon")).await.expect("another one answers").met.trace;
    let third = soon.iter().filter(|event| event.what.contains("asked ")).nth(2).expect("another one");
    assert!((50_000..55_000).contains(&third.at_us), "{soon:#?}");
    // Until then it comes last.
    sleep(Duration::from_secs(1)).await;
    let late = cluster.node("n1").read(of_table("never")).await.map_err(|failure| failure.error);
    assert!(
        matches!(late, Err(RequestError::Timeout { required: 2, received: 1, silent: 1, .. })),
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_heard_in_the_background_and_repaired() {
    let mut cluster = one_is_behind("n3").await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let definition = Definition {
        speculative_retry: SpeculativeRetry::Always,
        ..Definition::replicated(Replication::Simple { factor: 3 })
    };
    cluster.node("n1").define_table("default", definition, deadline).await.expect("an option");
    cluster.restart("n1").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    // At ONE the first answer is the read's; the other one whom it asks is heard later. Whoever was not asked yet comes first.
    for _ in 0..3 {
        cluster.get("n1", "key", One).await.expect("all are alive");
        sleep(Duration::from_millis(200)).await;
    }
    cluster.until("n3 is repaired", |c| c.node("n1").counters().requests.background_repairs > 0).await;
    cluster.write("n2", write("other key", put("v"), One)).await.expect("all are alive");
    assert_eq!(value_of(&cluster.read("n3", "key", One).await.expect("it is alive")), Some("new".to_owned()));
}
