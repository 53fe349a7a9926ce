//! What happens to a request when processes, connections and clients die around it.

use std::{ops::Bound, pin::pin, time::Duration};

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    node::Change,
    table::DEFAULT_TABLE_ID,
};

use tokio::time::Instant;

use crate::support::{Cluster, put, write};

#[tokio::test(start_paused = true)]
async fn a_write_acknowledged_at_quorum_survives_the_loss_of_its_coordinator() {
    for change in [put("new"), Change::Delete] {
        let mut cluster = Cluster::of(3).await;
        cluster.put("n1", "key", "old", All).await.expect("all are alive");

        let written = cluster.write("n1", write("key", change, Quorum)).await.expect("all are alive");
        cluster.kill("n1").await;

        cluster.until("the death is known", |c| c.sees_down("n2", "n1")).await;
        let outcome = cluster.read("n2", "key", Quorum).await.expect("two of three are alive");
        assert_eq!(outcome.record.expect("it was written").timestamp, written.timestamp);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_outlives_the_death_of_all_nodes() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..20 {
        let key = format!("key {number}");
        cluster.put("n1", &key, "value", Quorum).await.expect("all are alive");
        if number % 2 == 0 {
            cluster.delete("n2", &key, Quorum).await.expect("all are alive");
        }
    }

    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }
    for name in ["n3", "n1", "n2"] {
        cluster.start(name).await;
    }
    cluster.until("they find each other", |c| c.agrees_on(3)).await;

    for number in 0..20 {
        let expected = (number % 2 == 1).then(|| "value".to_owned());
        assert_eq!(cluster.get("n3", &format!("key {number}"), Quorum).await, Ok(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_leaves_no_write_half_done() {
    for change in [put("new"), Change::Delete] {
        let cluster = Cluster::of(3).await;

        // The first write of a node waits for its own disk before anything is sent: there the client leaves.
        let node = cluster.node("n1").clone();
        let hung_up =
            tokio::time::timeout(Duration::ZERO, node.write(write("key", change.clone(), All))).await;
        assert!(hung_up.is_err(), "the write was under way when the client left");

        for name in ["n1", "n2", "n3"] {
            let replica = &cluster.processes[name].storage.engine;
            let has_it = |_: &Cluster| replica.is_empty(DEFAULT_TABLE_ID).ok() == Some(false);
            cluster.until(&format!("{name} has the {change:?}"), has_it).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_answer_the_other_replicas_still_get_the_write() {
    let mut cluster = Cluster::of(3).await;

    let written = cluster.put("n1", "key", "value", One).await.expect("all are alive");
    assert_eq!(written.met.required, 1);
    let third = &cluster.processes["n3"].storage.engine;
    cluster.until("n3 has it", |_| third.is_empty(DEFAULT_TABLE_ID).ok() == Some(false)).await;

    for name in ["n1", "n2"] {
        cluster.kill(name).await;
    }
    cluster.until("the deaths are known", |c| c.sees_down("n3", "n1") && c.sees_down("n3", "n2")).await;
    assert_eq!(cluster.get("n3", "key", One).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn messages_delivered_twice_change_nothing() {
    let cluster = Cluster::of(3).await;
    cluster.network.deliver_twice();

    for number in 0..5 {
        cluster.put("n1", "key", &format!("value {number}"), All).await.expect("all are alive");
    }
    assert_eq!(cluster.get("n2", "key", All).await, Ok(Some("value 4".to_owned())));
    cluster.delete("n3", "key", All).await.expect("all are alive");
    assert_eq!(cluster.get("n1", "key", All).await, Ok(None));
    assert!(cluster.agrees_on(3));
}

#[tokio::test(start_paused = true)]
async fn a_node_cut_off_is_down_until_the_cable_is_back() {
    let cluster = Cluster::of(3).await;

    cluster.cut("n1", "n3");
    cluster.until("both sides notice", |c| c.sees_down("n1", "n3") && c.sees_down("n3", "n1")).await;
    assert!(cluster.sees_up("n2", "n3"), "only that cable is cut");
    cluster.put("n1", "key", "value", Quorum).await.expect("n1 and n2 suffice");

    cluster.heal("n1", "n3");
    cluster.until("they meet again", |c| c.agrees_on(3)).await;
    assert_eq!(cluster.get("n3", "key", Quorum).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_can_call_but_not_be_called_is_down_and_stays_so() {
    let cluster = Cluster::of(3).await;

    cluster.network.cut("n1", "n3");
    cluster.until("n1 notices", |c| c.sees_down("n1", "n3")).await;

    // n3 goes on calling n1, and is answered.
    let later = Instant::now() + Duration::from_secs(10);
    while Instant::now() < later {
        assert!(cluster.sees_down("n1", "n3"), "requests to n3 would fail");
        assert!(cluster.sees_up("n3", "n1"), "requests to n1 are answered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        matches!(
            cluster.put("n1", "key", "value", All).await,
            Err(RequestError::Unavailable { required: 3, alive: 2, .. })
        ),
        "nothing is sent"
    );

    cluster.network.heal("n1", "n3");
    cluster.until("they meet again", |c| c.agrees_on(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_is_up_as_soon_as_it_calls() {
    let mut cluster = Cluster::with(3, |settings| settings.gossip_interval = Duration::from_secs(10)).await;
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;

    cluster.start("n3").await;
    let started = Instant::now();
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    assert!(started.elapsed() < Duration::from_millis(100), "not at the next round: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_goes_on_where_it_was() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    cluster.put("n1", "key", "value", Quorum).await.expect("two of three answer");

    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.resume("n3");

    cluster.until("it is up", |c| c.agrees_on(3)).await;
    assert_eq!(cluster.get("n3", "key", Quorum).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_has_no_tasks_left_that_answer() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1").clone();
    node.drain();

    let far = Instant::now() + Duration::from_secs(10);
    tokio::time::timeout(Duration::from_secs(1), node.stop(far)).await.expect("nothing holds it");

    let refused = cluster.put("n1", "key", "value", One).await;
    assert_eq!(refused, Err(RequestError::Draining));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_late_copies_of_answered_writes() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    cluster.put("n1", "key", "value", Quorum).await.expect("n1 and n2 suffice");
    let node = cluster.node("n1").clone();
    let begun = Instant::now();
    let mut stopping = pin!(node.stop(begun + Duration::from_secs(2)));

    let early = tokio::time::timeout(Duration::from_secs(1), &mut stopping).await;
    assert!(early.is_err(), "n3 has not answered");
    cluster.resume("n3");
    stopping.await;

    assert!(begun.elapsed() < Duration::from_millis(1100), "n3 answered: {:?}", begun.elapsed());
    let replica = &cluster.processes["n3"].storage.engine;
    assert_eq!(replica.is_empty(DEFAULT_TABLE_ID).ok(), Some(false), "n3 has the write");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_write_beyond_its_deadline() {
    let cluster = Cluster::with(3, |settings| settings.write_timeout = Duration::from_secs(30)).await;
    cluster.pause("n3");
    cluster.put("n1", "late copy", "value", Quorum).await.expect("n1 and n2 suffice");
    let node = cluster.node("n1").clone();
    let unanswered = tokio::spawn(async move { node.write(write("unanswered", put("value"), All)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    cluster.node("n1").stop(begun + Duration::from_secs(2)).await;

    let waited = begun.elapsed().as_millis();
    assert!((2000..2100).contains(&waited), "until the deadline: {waited} ms");
    let outcome = unanswered.await.expect("no panic").map_err(|failure| failure.error);
    assert!(matches!(outcome, Err(RequestError::Timeout { received: 2, .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_after_the_reply_is_noticed_all_the_same() {
    let cluster = Cluster::of(3).await;
    cluster.network.lose_answers_of("n3");
    assert!(cluster.sees_up("n1", "n3"), "nobody has noticed yet");

    cluster.put("n1", "key", "value", One).await.expect("n1 itself answers first");
    tokio::time::sleep(Duration::from_millis(5)).await;

    assert!(cluster.sees_down("n1", "n3"), "the call that was still under way told");
}

#[tokio::test(start_paused = true)]
async fn a_death_that_breaks_connections_is_known_at_once_to_idle_nodes() {
    let mut cluster = Cluster::with(3, |settings| settings.gossip_interval = Duration::from_secs(10)).await;
    cluster.network.tell_losses();

    cluster.kill("n3").await;
    tokio::time::sleep(Duration::from_millis(10)).await;

    for observer in ["n1", "n2"] {
        assert!(cluster.sees_down(observer, "n3"), "{observer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_again_and_again_makes_no_live_peer_down_and_no_storm_of_calls() {
    let cluster = Cluster::of(3).await;
    let before = cluster.network.calls();

    for _ in 0..1000 {
        cluster.network.break_connection("n1", "n2");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(cluster.sees_up("n1", "n2"));
    }

    let calls = cluster.network.calls() - before;
    assert!(
        (10..40).contains(&calls),
        "{calls} calls in a second: two per node, and one per tenth of the interval"
    );
}

#[tokio::test(start_paused = true)]
async fn silent_peers_do_not_delay_the_news_of_others() {
    let mut cluster = Cluster::of(5).await;
    for name in ["n2", "n3", "n4"] {
        cluster.pause(name);
    }

    cluster.kill("n5").await;
    let died = Instant::now();
    cluster.until("the death is known", |c| c.sees_down("n1", "n5")).await;

    assert!(died.elapsed() <= Duration::from_millis(1100), "one interval: {:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_disk_of_the_coordinator_makes_no_request_wait_beyond_its_deadline() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "old", All).await.expect("all are alive");
    cluster.processes["n1"].storage.stall();

    let asked = Instant::now();
    cluster.put("n1", "key", "new", Quorum).await.expect("n2 and n3 suffice");
    assert!(asked.elapsed() < Duration::from_millis(100));
    let late = cluster.put("n1", "key", "newer", All).await;

    assert!(matches!(late, Err(RequestError::Timeout { required: 3, received: 2, .. })), "{late:?}");
    assert!(asked.elapsed() < Duration::from_millis(2100), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_its_own_replica_keeps_a_write_from_no_other() {
    // Room for one write that is answered and waits for late replicas, and a paused replica that takes it.
    let cluster = Cluster::with(3, |settings| settings.max_requests = 1).await;
    cluster.pause("n3");
    cluster.put("n1", "first", "value", Quorum).await.expect("n1 and n2 suffice");

    cluster.close_storage("n1");
    for number in 0..8 {
        let failed = cluster.put("n1", &format!("key {number}"), "value", All).await;
        assert!(matches!(failed, Err(RequestError::Failed { .. })), "n1 fails at once: {failed:?}");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;

    let n2 = &cluster.processes["n2"].storage.engine;
    let records = n2.scan(DEFAULT_TABLE_ID, (Bound::Unbounded, Bound::Unbounded), 10).expect("a sound disk");
    assert_eq!(records.len(), 9, "every write was sent to n2 all the same");
}
