//! Promise: a node serves as soon as it knows how things stand with each member, and needs none of them for it.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{One, Quorum},
    node::Readiness,
};
use tokio::time::Instant;

use crate::support::Cluster;

/// How long it took until a node was ready.
async fn time_to_ready(cluster: &Cluster, name: &str) -> Duration {
    let started = Instant::now();
    cluster.until("it is ready", |c| c.node(name).readiness() == Readiness::Ready).await;
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_request_of_a_ready_node_finds_its_live_members() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", Quorum).await.expect("all are alive");

    cluster.restart("n1").await;
    assert!(matches!(cluster.node("n1").readiness(), Readiness::Starting(_)), "it has met nobody yet");
    assert!(time_to_ready(&cluster, "n1").await < Duration::from_millis(100));
    assert_eq!(cluster.get("n1", "key", Quorum).await, Ok(Some("value".to_owned())));

    // A node that comes new learns of members from others, and meets those too.
    cluster.start("n4").await;
    time_to_ready(&cluster, "n4").await;
    assert_eq!(cluster.get("n4", "key", Quorum).await, Ok(Some("value".to_owned())));
    for member in ["n1", "n2", "n3"] {
        assert!(cluster.sees_up("n4", member), "{member}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_peers_are_dead_is_ready_at_once() {
    let mut cluster = Cluster::of(3).await;
    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }

    cluster.start("n2").await;

    assert!(time_to_ready(&cluster, "n2").await < Duration::from_millis(100));
    cluster.put("n2", "key", "value", One).await.expect("it is a replica itself");
}

#[tokio::test(start_paused = true)]
async fn peers_that_say_nothing_delay_a_start_by_two_seconds_at_most() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n1").await;
    for silent in ["n2", "n3"] {
        cluster.pause(silent);
        cluster.network.cut(silent, "n1");
    }

    cluster.start("n1").await;

    let took = time_to_ready(&cluster, "n1").await;
    assert!(took > Duration::from_millis(1900) && took < Duration::from_millis(2100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_ready_stays_so_whoever_comes() {
    let mut cluster = Cluster::of(1).await;
    time_to_ready(&cluster, "n1").await;

    cluster.start("n2").await;
    cluster.pause("n2");

    let later = Instant::now() + Duration::from_secs(5);
    while Instant::now() < later {
        assert_eq!(cluster.node("n1").readiness(), Readiness::Ready);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
