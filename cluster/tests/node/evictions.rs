//! Promise: a joining node that dies holds nobody up for long; if it comes back, it joins from the beginning.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, Quorum},
    error::RequestError,
    membership::MemberState,
    message::{Message, Request, Response, TrafficClass},
    node_id::HostId,
};

use crate::support::{Cluster, header};

const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
const KEYS: usize = 40;

/// Three nodes with a record, and a fourth that joins.
async fn with_joining() -> (Cluster, HostId) {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    cluster.start("n4").await;
    cluster.until("all know it", |c| is_joining(c, &MEMBERS)).await;
    let joining = cluster.node("n4").host_id();
    (cluster, joining)
}

fn is_joining(cluster: &Cluster, observers: &[&str]) -> bool {
    let joins = |name| cluster.seen(name, "n4").is_some_and(|member| member.state == MemberState::Joining);
    observers.iter().all(|name| joins(*name) && cluster.sees_up(name, "n4"))
}

fn is_evicted(cluster: &Cluster, observers: &[&str]) -> bool {
    observers.iter().all(|name| cluster.seen(name, "n4").is_none())
}

/// Of many writes at quorum, those that were refused because too few replicas are alive.
async fn refused(cluster: &Cluster, coordinator: &str) -> usize {
    let mut refused = 0;
    for number in 0..KEYS {
        match cluster.put(coordinator, &format!("key {number}"), "value", Quorum).await {
            Ok(_) => {}
            Err(RequestError::Unavailable { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn a_dead_joining_node_is_evicted_and_writes_no_longer_wait_for_it() {
    let (mut cluster, joining) = with_joining().await;
    cluster.kill("n4").await;
    cluster.until("the death is known", |c| MEMBERS.iter().all(|name| c.sees_down(name, "n4"))).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(MEMBERS.iter().all(|name| cluster.seen(name, "n4").is_some()), "it may come back any moment");

    cluster.until("all have given it up", |c| is_evicted(c, &MEMBERS)).await;

    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
    assert_eq!(refused(&cluster, "n1").await, 0);
    for name in ["n1", "n2"] {
        let told = cluster.node(name).gossip_status().members;
        let told = told.iter().find(|member| member.host_id == joining).expect("what is left of it");
        assert_eq!((told.state, &told.peer), (MemberState::Evicted, &None), "{name}");
    }

    // Nor does what others remember of it bring it back.
    cluster.start("n3").await;
    for name in ["n1", "n2"] {
        cluster.restart(name).await;
    }
    cluster.until("all are back", |c| c.agrees_on(3)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.agrees_on(3));
}

#[tokio::test(start_paused = true)]
async fn a_dead_joining_node_is_evicted_by_members_that_have_restarted_since() {
    let (mut cluster, _) = with_joining().await;
    cluster.kill("n4").await;
    for name in MEMBERS {
        cluster.kill(name).await;
    }
    for name in MEMBERS {
        cluster.start(name).await;
    }
    cluster.until("all have given it up", |c| is_evicted(c, &MEMBERS)).await;
}

#[tokio::test(start_paused = true)]
async fn a_joining_node_that_was_silent_for_long_joins_anew_when_it_is_back() {
    let (mut cluster, joining) = with_joining().await;
    for is_restarted in [false, true] {
        cluster.pause("n4");
        cluster.until("all have given it up", |c| is_evicted(c, &MEMBERS)).await;
        cluster.put("n1", "meanwhile", "value", Quorum).await.expect("three are alive");

        match is_restarted {
            false => cluster.resume("n4"),
            true => cluster.restart("n4").await,
        }
        cluster.until("all know it", |c| is_joining(c, &MEMBERS)).await;
        cluster.until("it knows all", |c| MEMBERS.iter().all(|name| c.sees_up("n4", name))).await;

        assert_eq!(cluster.node("n4").host_id(), joining);
        let why = cluster.seen("n4", "n4").and_then(|member| member.why);
        assert!(why.is_some_and(|why| why.contains("user records exist already")), "it owns nothing");
        assert_eq!(cluster.get("n4", "meanwhile", Quorum).await, Ok(Some("value".to_owned())));
        assert_eq!(refused(&cluster, "n4").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_joining_node_that_others_reach_is_not_evicted() {
    let (cluster, _) = with_joining().await;
    cluster.cut("n1", "n4");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(MEMBERS.iter().all(|name| cluster.seen(name, "n4").is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_joining_node_that_may_have_everybodys_word_is_not_evicted() {
    // It joins while no record exists, and waits for a dead member only.
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.start("n4").await;
    cluster.until("it waits", |c| is_joining(c, &["n1", "n2"])).await;
    cluster.put("n1", "key", "value", Quorum).await.expect("it is alive");
    cluster.kill("n4").await;

    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(["n1", "n2"].iter().all(|name| cluster.seen(name, "n4").is_some()));
}

#[tokio::test(start_paused = true)]
async fn an_evicted_node_that_never_belonged_finds_the_cluster_again() {
    let (mut cluster, joining) = with_joining().await;
    cluster.kill("n4").await;
    cluster.until("all have given it up", |c| is_evicted(c, &MEMBERS)).await;

    for name in MEMBERS {
        let answer = cluster.node(name).handle(shadow(joining)).await.body;
        let Response::Shadow { cluster_id } = answer else { panic!("{answer:?}") };
        assert!(cluster_id.is_some(), "{name}");
    }
}

/// What a node asks that has yet to choose a cluster.
fn shadow(sender: HostId) -> Message<Request> {
    Message { header: header(sender, None, TrafficClass::Control), body: Request::Shadow }
}
