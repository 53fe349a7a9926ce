//! Who is dead, who is taken for dead, and what is left of a member that an operator has removed.

use std::time::Duration;

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    membership::MemberState,
    message::{Message, ReplicaError, Request, Response, TrafficClass},
    node::{GossipedMember, PeerHealth, Readiness, RemovalError},
    node_id::HostId,
    quorum::{AsOf, Wants},
    table::DEFAULT_TABLE_ID,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Cluster, header};

fn gossiped(cluster: &Cluster, observer: &str, about: HostId) -> GossipedMember {
    let members = cluster.node(observer).gossip_status().members;
    members.into_iter().find(|member| member.host_id == about).expect("it is known")
}

fn health(cluster: &Cluster, observer: &str, peer: &str) -> PeerHealth {
    let peer = cluster.node(peer).host_id();
    gossiped(cluster, observer, peer).peer.expect("it is a peer")
}

fn believes_dead(cluster: &Cluster, observer: &str, host_id: HostId) -> bool {
    gossiped(cluster, observer, host_id).peer.is_some_and(|peer| peer.belief == "dead")
}

/// Kills a node and waits until another takes it for dead.
async fn kill_for_good(cluster: &mut Cluster, name: &str, observer: &str) -> HostId {
    let host_id = cluster.node(name).host_id();
    cluster.kill(name).await;
    cluster.until("the death is known", |c| believes_dead(c, observer, host_id)).await;
    host_id
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_is_taken_for_dead_within_ten_seconds_and_lives_again_within_three() {
    let cluster = Cluster::of(5).await;
    tokio::time::sleep(Duration::from_secs(30)).await;

    cluster.pause("n5");
    let paused = Instant::now();
    let observers = ["n1", "n2", "n3", "n4"];
    cluster.until("all know", |c| observers.iter().all(|name| c.sees_down(name, "n5"))).await;
    assert!(paused.elapsed() <= Duration::from_secs(10), "{:?}", paused.elapsed());
    for name in observers {
        let health = health(&cluster, name, "n5");
        assert!(health.phi > 8.0, "{name}: {health:?}");
    }
    let outcome = cluster.put("n1", "key", "value", All).await;
    assert!(
        !matches!(outcome, Err(RequestError::Timeout { .. })),
        "nobody waits for it any more: {outcome:?}"
    );

    cluster.resume("n5");
    let resumed = Instant::now();
    cluster.until("all know", |c| c.agrees_on(5)).await;
    assert!(resumed.elapsed() <= Duration::from_secs(3), "{:?}", resumed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_taken_for_dead_within_two_seconds() {
    let mut cluster = Cluster::of(4).await;
    let died = Instant::now();
    let host_id = cluster.node("n4").host_id();
    cluster.kill("n4").await;
    let all = |c: &Cluster| ["n1", "n2", "n3"].iter().all(|name| believes_dead(c, name, host_id));
    cluster.until("all know", all).await;
    assert!(died.elapsed() <= Duration::from_secs(2), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_makes_requests_go_elsewhere_and_nobody_dead() {
    for is_one_way in [true, false] {
        let cluster = Cluster::of(3).await;
        cluster.network.cut("n1", "n3");
        if !is_one_way {
            cluster.network.cut("n3", "n1");
        }
        cluster.until("n1 notices", |c| c.sees_down("n1", "n3")).await;

        let later = Instant::now() + Duration::from_secs(60);
        while Instant::now() < later {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(cluster.sees_down("n1", "n3"), "requests to it would fail");
            assert_ne!(health(&cluster, "n1", "n3").belief, "dead", "n2 reaches it");
        }
        let says_so = |c: &Cluster| {
            let why = c.seen("n1", "n3").and_then(|member| member.why);
            why.is_some_and(|why| why.contains("do not reach it, but it is alive"))
                && health(c, "n1", "n3").belief == "unreachable"
        };
        cluster.until("both reports say the same", says_so).await;
        for (observer, peer) in [("n2", "n3"), ("n2", "n1")] {
            assert_eq!(health(&cluster, observer, peer).belief, "alive");
            assert_eq!(cluster.seen(observer, peer).and_then(|member| member.why), None);
        }
        for name in ["n1", "n2", "n3"] {
            assert_eq!(cluster.node(name).gossip_status().convictions, 0, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_dead_member_is_removed() {
    let mut cluster = Cluster::of(3).await;
    let (own, live) = (cluster.node("n1").host_id(), cluster.node("n2").host_id());
    let nobody = HostId(Uuid::from_u128(1));
    let n1 = cluster.node("n1").clone();

    assert_eq!(n1.assassinate(own, false).await, Err(RemovalError::Itself));
    assert_eq!(n1.assassinate(live, false).await, Err(RemovalError::Alive(live)));
    assert_eq!(n1.assassinate(nobody, false).await, Err(RemovalError::Unknown(nobody)));
    assert!(cluster.agrees_on(3), "nothing has changed");

    let dead = kill_for_good(&mut cluster, "n3", "n1").await;
    n1.assassinate(dead, false).await.expect("it is dead");
    assert_eq!(n1.assassinate(dead, false).await, Err(RemovalError::RemovedAlready(dead)));
    cluster.until("all know", |c| c.agrees_on(2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_ranges_of_a_removed_member_are_the_others() {
    let mut cluster = Cluster::of(4).await;
    for number in 0..20 {
        cluster.put("n1", &format!("key {number}"), "value", All).await.expect("all are alive");
    }
    let dead = kill_for_good(&mut cluster, "n4", "n2").await;
    let removed = cluster.node("n2").clone().assassinate(dead, false).await.expect("it is dead");
    assert!(removed.was_replica);
    cluster.until("all know", |c| c.agrees_on(3)).await;

    for number in 0..20 {
        let key = format!("key {number}");
        assert_eq!(
            cluster.get("n3", &key, Quorum).await,
            Ok(Some("value".to_owned())),
            "two of three had it"
        );
        cluster.put("n3", &key, "new", All).await.expect("three replicas are left, all alive");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_that_was_still_joining_leaves_no_replica_missing() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", One).await.expect("all are alive");
    cluster.start("n4").await;
    cluster.until("all know it", |c| ["n1", "n2", "n3"].iter().all(|name| c.sees_up(name, "n4"))).await;
    let dead = kill_for_good(&mut cluster, "n4", "n1").await;

    let removed = cluster.node("n1").clone().assassinate(dead, false).await.expect("it is dead");
    assert!(!removed.was_replica);
    cluster.until("all know", |c| c.agrees_on(3)).await;
    cluster.put("n1", "key", "new", All).await.expect("all its replicas are alive");
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_that_comes_back_is_turned_away_and_knows_why() {
    let mut cluster = Cluster::of(4).await;
    cluster.put("n1", "key", "value", One).await.expect("all are alive");
    let dead = kill_for_good(&mut cluster, "n4", "n1").await;
    cluster.node("n1").clone().assassinate(dead, false).await.expect("it is dead");
    cluster.until("all know", |c| c.agrees_on(3)).await;

    for _ in 0..2 {
        cluster.start("n4").await;
        let is_told = |c: &Cluster| matches!(c.node("n4").readiness(), Readiness::Starting(why) if why.contains("removed from the cluster"));
        cluster.until("it knows", is_told).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        for name in ["n1", "n2", "n3"] {
            assert_eq!(cluster.seen(name, "n4"), None, "{name} does not list it");
            assert_eq!(gossiped(&cluster, name, dead).state, MemberState::Removed);
        }
        let refused = cluster.put("n4", "key", "late", One).await;
        assert!(matches!(refused, Err(RequestError::Starting(_))), "{refused:?}");
        cluster.kill("n4").await;
    }

    // With an empty disk it is another node.
    cluster.start_with("another disk", |settings| settings.advertise = "n4".to_owned()).await;
    cluster.until("it is known", |c| ["n1", "n2", "n3"].iter().all(|name| c.sees_up(name, "n4"))).await;
    assert_ne!(cluster.node("another disk").host_id(), dead);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_slept_through_a_removal_cannot_bring_it_back() {
    let mut cluster = Cluster::of(4).await;
    let sleeper = "n3";
    cluster.kill(sleeper).await;
    let dead = kill_for_good(&mut cluster, "n4", "n1").await;
    cluster.node("n1").clone().assassinate(dead, true).await.expect("it is dead");
    cluster.until("n2 knows", |c| c.seen("n2", "n4").is_none()).await;

    // It remembers the dead one as a member, and tells so.
    cluster.start(sleeper).await;
    cluster.until("all know", |c| c.agrees_on(3)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.agrees_on(3));

    // And so it is after all have restarted.
    for name in ["n1", "n2", "n3"] {
        cluster.restart(name).await;
    }
    cluster.until("all are back", |c| c.agrees_on(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_waits_for_a_dead_member_goes_on_when_that_is_removed() {
    let mut cluster = Cluster::of(3).await;
    let dead = kill_for_good(&mut cluster, "n3", "n1").await;
    cluster.start("n4").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.seen("n4", "n4").map(|member| member.state), Some(MemberState::Joining));

    cluster.node("n1").clone().assassinate(dead, false).await.expect("it is dead");
    cluster.until("it has joined", |c| c.agrees_on(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_side_without_a_majority_removes_nobody_unless_forced() {
    for (size, cut_off) in [(3, vec!["n3"]), (4, vec!["n3", "n4"])] {
        let cluster = Cluster::of(size).await;
        let others: Vec<String> = (1..=size).map(|number| format!("n{number}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).filter(|n| !cut_off.contains(n)).collect();
        for (one, other) in others.iter().flat_map(|one| cut_off.iter().map(move |other| (one, other))) {
            cluster.cut(one, other);
        }
        let there = cluster.node("n1").host_id();
        cluster.until("n3 takes n1 for dead", |c| believes_dead(c, "n3", there)).await;

        let n3 = cluster.node("n3").clone();
        let refused = n3.assassinate(there, false).await;
        assert_eq!(refused, Err(RemovalError::Minority { up: cut_off.len(), members: size }));
        assert!(cluster.seen("n3", "n1").is_some(), "nothing has changed");
        n3.assassinate(there, true).await.expect("it is forced");
        assert!(cluster.seen("n3", "n1").is_none());
    }
}

/// A read as `sender` asks a replica for it.
fn asked_by(cluster: &Cluster, sender: &str, of: &str) -> Message<Request> {
    let header =
        header(cluster.node(sender).host_id(), Some(cluster.node(of).host_id()), TrafficClass::Request);
    let (table, key, as_of) = (DEFAULT_TABLE_ID, Bytes::from_static(b"k"), AsOf::default());
    Message { header, body: Request::Read { table, key, as_of, wants: Wants::Record } }
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_serves_nobody_once_it_knows_not_even_those_who_do_not() {
    let cluster = Cluster::of(4).await;
    let victim = cluster.node("n4").host_id();
    // n1 and n2 take n4 for dead; n3 reaches it, and is cut off from them.
    for (one, other) in [("n1", "n4"), ("n2", "n4"), ("n1", "n3"), ("n2", "n3")] {
        cluster.cut(one, other);
    }
    cluster.until("it is taken for dead", |c| believes_dead(c, "n1", victim)).await;
    cluster.node("n1").clone().assassinate(victim, true).await.expect("it is forced");
    let before = cluster.node("n4").handle(asked_by(&cluster, "n3", "n4")).await;
    assert_eq!(before.body, Response::Record(None), "nobody has told it");

    cluster.heal("n1", "n4");
    let is_told = |c: &Cluster| matches!(c.node("n4").readiness(), Readiness::Starting(_));
    cluster.until("it knows", is_told).await;

    assert!(cluster.seen("n3", "n4").is_some(), "n3 has not heard of it");
    let answer = cluster.node("n4").handle(asked_by(&cluster, "n3", "n4")).await;
    assert!(matches!(answer.body, Response::Failed(ReplicaError::NotServing(_))), "{answer:?}");

    cluster.until("n3 hears it from n4 itself", |c| c.seen("n3", "n4").is_none()).await;
}
