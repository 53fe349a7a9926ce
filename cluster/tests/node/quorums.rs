//! A request is answered when, and only when, its level is met; and says how.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{
        All, Any, Count, EachQuorum, LocalOne, LocalQuorum, One, Quorum, Serial, Three, Two,
    },
    error::RequestError,
    node::{Change, RequestOptions, WriteRequest},
};
use tokio::time::{Instant, sleep};

use crate::support::{Cluster, at, is_tombstone, put, read, write};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// The two changes that every promise about writes is shown with.
fn changes() -> [Change; 2] {
    [put("new"), Change::Delete]
}

fn expected(change: &Change) -> Option<String> {
    matches!(change, Change::Put { .. }).then(|| "new".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_written_at_quorum_is_read_at_quorum_through_every_node() {
    let cluster = Cluster::of(3).await;

    for writer in NODES {
        for change in changes() {
            let key = format!("key of {writer}");
            cluster.write(writer, write(&key, change.clone(), Quorum)).await.expect("all are alive");

            for reader in NODES {
                let value = cluster.get(reader, &key, Quorum).await.expect("all are alive");
                assert_eq!(value, expected(&change), "{change:?} through {writer}, read through {reader}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_reads_as_its_tombstone() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");

    let deleted = cluster.delete("n2", "key", Quorum).await.expect("all are alive");

    let outcome = cluster.read("n3", "key", Quorum).await.expect("all are alive");
    let record = outcome.record.expect("a tombstone is a record");
    assert!(is_tombstone(&record));
    assert_eq!(record.timestamp, deleted.timestamp);
}

#[tokio::test(start_paused = true)]
async fn a_key_never_written_reads_as_nothing() {
    let cluster = Cluster::of(3).await;

    assert_eq!(cluster.read("n1", "nobody wrote it", All).await.expect("all are alive").record, None);
}

#[tokio::test(start_paused = true)]
async fn each_level_requires_what_the_factor_says_and_reports_what_it_got() {
    let cluster = Cluster::of(3).await;

    for (level, required) in [
        (One, 1),
        (Two, 2),
        (Three, 3),
        (Quorum, 2),
        (All, 3),
        (LocalOne, 1),
        (LocalQuorum, 2),
        (EachQuorum, 2),
        (Count(1), 1),
        (Count(2), 2),
        (Count(3), 3),
    ] {
        for change in changes() {
            let written = cluster.write("n1", write("key", change, level)).await.expect("all are alive").met;
            assert_eq!((written.level, written.required), (level, required));
            assert!((required..=3).contains(&written.acknowledged), "{level}: {}", written.acknowledged);
        }

        let met = cluster.read("n2", "key", level).await.expect("all are alive").met;
        assert_eq!((met.level, met.required), (level, required));
        assert!((required..=3).contains(&met.acknowledged), "{level}: {}", met.acknowledged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_level_that_the_factor_cannot_meet_is_refused_before_anything_is_sent() {
    let cluster = Cluster::of(3).await;

    let written = cluster.put("n1", "key", "value", Count(4)).await;
    let answer = cluster.get("n1", "key", Any).await;

    assert!(matches!(written, Err(RequestError::InvalidConsistency { level: Count(4), .. })), "{written:?}");
    assert!(matches!(answer, Err(RequestError::InvalidConsistency { level: Any, .. })), "{answer:?}");
    assert_eq!(cluster.get("n1", "key", All).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn levels_that_this_build_lacks_are_said_to_be_lacking() {
    let cluster = Cluster::of(3).await;

    assert_eq!(cluster.get("n1", "key", Serial).await, Err(RequestError::UnsupportedConsistency(Serial)));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_level_uses_the_tables_own() {
    let cluster = Cluster::of(3).await;

    let request = WriteRequest { options: RequestOptions::default(), ..write("key", put("value"), All) };
    let outcome = cluster.write("n1", request).await.expect("all are alive");

    assert_eq!((outcome.met.level, outcome.met.required), (Quorum, 2));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_table_is_named() {
    let cluster = Cluster::of(3).await;

    let request = WriteRequest { table: "nothing".to_owned(), ..write("key", put("value"), One) };

    assert_eq!(cluster.write("n1", request).await, Err(RequestError::NoSuchTable("nothing".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn with_one_node_down_quorum_works_and_all_is_unavailable() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3")).await;

    for change in changes() {
        cluster.write("n1", write("key", change.clone(), Quorum)).await.expect("two of three are alive");
        assert_eq!(cluster.get("n2", "key", Quorum).await, Ok(expected(&change)));

        let refused = cluster.write("n1", write("key", change, All)).await;
        assert!(
            matches!(refused, Err(RequestError::Unavailable { level: All, required: 3, alive: 2, .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn with_two_nodes_down_quorum_is_unavailable_at_once_and_one_works() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "old", All).await.expect("all are alive");
    cluster.kill("n2").await;
    cluster.kill("n3").await;
    cluster.until("the deaths are known", |c| c.sees_down("n1", "n2") && c.sees_down("n1", "n3")).await;

    for change in changes() {
        let asked = Instant::now();
        let refused = cluster.write("n1", write("key", change.clone(), Quorum)).await;
        assert!(
            matches!(refused, Err(RequestError::Unavailable { level: Quorum, required: 2, alive: 1, .. })),
            "{refused:?}"
        );
        let refused = cluster.get("n1", "key", Quorum).await;
        assert!(
            matches!(refused, Err(RequestError::Unavailable { level: Quorum, required: 2, alive: 1, .. })),
            "{refused:?}"
        );
        assert!(asked.elapsed() < Duration::from_millis(100));
        assert_eq!(cluster.get("n1", "key", One).await, Ok(Some("old".to_owned())), "nothing was sent");

        cluster.write("n1", write("other key", change.clone(), One)).await.expect("n1 itself is alive");
        assert_eq!(cluster.get("n1", "other key", One).await, Ok(expected(&change)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_is_known_within_one_call() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;

    // Nobody has noticed yet: the write finds out, and its level is out of reach at once.
    let asked = Instant::now();
    let late = cluster.put("n1", "key", "value", All).await;

    assert!(matches!(late, Err(RequestError::Timeout { level: All, required: 3, .. })), "{late:?}");
    assert!(asked.elapsed() < Duration::from_millis(100), "not at the deadline");
    assert!(cluster.sees_down("n1", "n3"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_makes_no_quorum_fail_and_lets_all_time_out() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");

    for change in changes() {
        cluster.write("n1", write("key", change.clone(), Quorum)).await.expect("two of three answer");
        assert_eq!(cluster.get("n2", "key", Quorum).await, Ok(expected(&change)));

        let asked = Instant::now();
        let late = cluster.write("n1", write("key", change, All)).await;
        let timeout = Duration::from_secs(2);
        let shortages = Vec::new();
        assert_eq!(
            late,
            Err(RequestError::Timeout {
                level: All,
                required: 3,
                received: 2,
                silent: 1,
                lost: 0,
                timeout,
                shortages
            })
        );
        assert!(asked.elapsed() >= timeout && asked.elapsed() < timeout + Duration::from_millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_set_its_own_deadline() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");

    let timeout = Duration::from_millis(300);
    let mut request = read("key", All);
    request.options.timeout = Some(timeout);
    let asked = Instant::now();
    let late = cluster.node("n1").read(request).await.map_err(|failure| failure.error);

    let shortages = Vec::new();
    assert_eq!(
        late,
        Err(RequestError::Timeout {
            level: All,
            required: 3,
            received: 2,
            silent: 1,
            lost: 0,
            timeout,
            shortages
        })
    );
    assert!(asked.elapsed() >= timeout && asked.elapsed() < timeout + Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn what_a_request_has_waited_before_is_taken_from_its_time() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    let since = Instant::now();
    sleep(Duration::from_millis(1500)).await;

    let mut late = write("key", put("value"), All);
    late.options.since = Some(since);
    let error = cluster.write("n1", late).await.expect_err("one is silent");
    assert!(matches!(error, RequestError::Timeout { timeout, .. } if timeout == Duration::from_secs(2)));
    assert!(since.elapsed() >= Duration::from_secs(2) && since.elapsed() < Duration::from_millis(2100));

    let mut too_late = write("too late", put("value"), Quorum);
    too_late.options.since = Some(since);
    let refused = cluster.write("n1", too_late).await;
    assert!(matches!(refused, Err(RequestError::Overloaded(_))), "{refused:?}");
    assert_eq!(cluster.get("n1", "too late", Quorum).await, Ok(None), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_in_mid_call_counts_as_silence() {
    for change in changes() {
        let cluster = Cluster::of(3).await;
        cluster.network.lose_answers_of("n3");
        assert!(cluster.sees_up("n1", "n3"), "nobody has noticed yet");
        let late = cluster.write("n1", write("key", change, All)).await;
        assert!(
            matches!(late, Err(RequestError::Timeout { level: All, lost: 1, silent: 0, .. })),
            "{late:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_answer_with_errors_make_a_failure_that_names_them() {
    let cluster = Cluster::of(3).await;
    let culprits = [cluster.node("n2").host_id(), cluster.node("n3").host_id()];
    cluster.close_storage("n2");
    cluster.close_storage("n3");

    for change in changes() {
        let failed = cluster.write("n1", write("key", change, Quorum)).await;
        let Err(RequestError::Failed { level: Quorum, required: 2, failures, .. }) = failed else {
            panic!("{failed:?}")
        };
        let mut named: Vec<_> = failures.iter().map(|(host, _)| *host).collect();
        named.sort();
        let mut expected = culprits.to_vec();
        expected.sort();
        assert_eq!(named, expected);
    }
    let failed = cluster.get("n1", "key", Quorum).await;
    assert!(matches!(failed, Err(RequestError::Failed { level: Quorum, required: 2, .. })), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_beyond_its_request_bound_says_so_and_recovers() {
    let cluster = Cluster::with(3, |settings| settings.max_requests = 2).await;
    cluster.pause("n2");
    cluster.pause("n3");

    let held: Vec<_> = (0..2)
        .map(|number| {
            let node = cluster.node("n1").clone();
            tokio::spawn(async move { node.write(write(&format!("key {number}"), put("v"), Quorum)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let refused = cluster.get("n1", "key", One).await;

    assert!(matches!(refused, Err(RequestError::Overloaded(_))), "{refused:?}");
    for request in held {
        let late = request.await.expect("it does not panic");
        assert!(matches!(late.map_err(|f| f.error), Err(RequestError::Timeout { .. })));
    }
    cluster.get("n1", "key", One).await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn late_calls_to_a_silent_node_leave_room_for_new_requests() {
    let cluster = Cluster::with(3, |settings| settings.max_requests = 2).await;
    cluster.pause("n3");

    // Each leaves a call to n3 behind that ends two seconds later.
    for number in 0..20 {
        cluster.put("n1", &format!("key {number}"), "value", Quorum).await.expect("two of three answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_takes_no_new_request_and_still_serves_its_peers() {
    let cluster = Cluster::of(3).await;

    cluster.node("n3").drain();

    assert_eq!(cluster.put("n3", "key", "value", One).await, Err(RequestError::Draining));
    cluster.put("n1", "key", "value", All).await.expect("its replica goes on");
}

#[tokio::test(start_paused = true)]
async fn a_trace_tells_the_steps_in_order_and_only_when_asked() {
    let cluster = Cluster::of(3).await;

    let mut request = write("key", put("value"), All);
    request.options = RequestOptions { trace: true, ..at(All) };
    let traced = cluster.node("n1").write(request).await.expect("all are alive").met.trace;
    let silent = cluster.put("n1", "key", "value", All).await.expect("all are alive").met.trace;

    let hosts = NODES.map(|name| cluster.node(name).host_id());
    assert!(traced.is_sorted_by_key(|event| event.at_us), "{traced:#?}");
    for host in hosts {
        assert!(traced.iter().any(|event| event.node == host), "{host} is missing in {traced:#?}");
    }
    assert!(traced.last().is_some_and(|event| event.what.contains("level reached")), "{traced:#?}");
    assert!(silent.is_empty());
}
