//! A node that comes late owns no reads until it could have the data.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    membership::MemberState,
    node::Readiness,
};

use crate::support::{Cluster, put, write};

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_before_any_record_exists_becomes_normal() {
    let mut cluster = Cluster::of(3).await;

    cluster.start("n4").await;

    cluster.until("it is normal", |c| c.agrees_on(4)).await;
    cluster.put("n4", "key", "value", Quorum).await.expect("all are alive");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_after_a_record_exists_stays_joining_and_says_why() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", Quorum).await.expect("all are alive");

    cluster.start("n4").await;
    cluster.until("all know it", |c| ["n1", "n2", "n3"].iter().all(|name| c.sees_up(name, "n4"))).await;
    tokio::time::sleep(Duration::from_secs(60)).await;

    for name in ["n1", "n2", "n3", "n4"] {
        let member = cluster.seen(name, "n4").expect("all know it");
        assert_eq!(member.state, MemberState::Joining);
        assert!(member.owns.abs() < f64::EPSILON, "it owns no read range");
    }
    let why = cluster.seen("n4", "n4").and_then(|member| member.why);
    assert!(why.is_some_and(|why| !why.is_empty()), "it can say why");
    for replica in ["n1", "n2", "n3"] {
        let why = cluster.seen(replica, "n4").and_then(|member| member.why);
        assert!(why.is_some_and(|why| why.contains("records exist")), "{replica} can say why too");
        assert_eq!(cluster.seen(replica, "n2").and_then(|member| member.why), None, "n2 is normal");
    }
    assert_eq!(cluster.node("n4").readiness(), Readiness::Ready, "it coordinates all the same");
    assert_eq!(cluster.get("n4", "key", Quorum).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn writes_of_its_future_ranges_go_to_a_joining_node_and_wait_for_one_more() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "first", "value", Quorum).await.expect("all are alive");
    cluster.start("n4").await;
    cluster.until("all know it", |c| ["n1", "n2", "n3"].iter().all(|name| c.sees_up(name, "n4"))).await;
    let joining = cluster.node("n4").host_id();

    let mut pending = 0;
    for number in 0..40 {
        let mut request = write(&format!("key {number}"), put("value"), Quorum);
        request.options.trace = true;
        let met = cluster.node("n1").write(request).await.expect("all are alive").met;
        let reached_joining = met.trace.iter().any(|event| event.what.contains(&joining.to_string()));
        assert_eq!(met.required, if reached_joining { 3 } else { 2 }, "{:#?}", met.trace);
        pending += usize::from(reached_joining);

        let mut request = crate::support::read(&format!("key {number}"), Quorum);
        request.options.trace = true;
        let met = cluster.node("n4").read(request).await.expect("all are alive").met;
        assert_eq!(met.required, 2);
        assert!(!met.trace.iter().any(|event| event.what.contains(&format!("sent to {joining}"))));
    }
    assert!(pending > 0, "with 16 tokens of 64 it is about to own some of 40 keys");
}

#[tokio::test(start_paused = true)]
async fn a_joining_node_keeps_its_tokens_and_state_over_a_restart() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", Quorum).await.expect("all are alive");
    cluster.start("n4").await;
    cluster.until("all know it", |c| ["n1", "n2", "n3"].iter().all(|name| c.sees_up(name, "n4"))).await;

    cluster.restart("n4").await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let member = cluster.seen("n1", "n4").expect("it is a member");
    assert_eq!((member.state, member.up), (MemberState::Joining, true));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_records_stays_closed_after_all_its_nodes_restarted() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    for name in ["n1", "n2", "n3"] {
        cluster.restart(name).await;
    }
    cluster.until("they are back", |c| c.agrees_on(3)).await;

    cluster.start("n4").await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert_eq!(cluster.seen("n1", "n4").map(|member| member.state), Some(MemberState::Joining));
    assert_eq!(cluster.get("n4", "key", One).await, Ok(Some("value".to_owned())));
}
