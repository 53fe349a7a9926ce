//! A node that comes late owns no reads until it could have the data.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    membership::{Exchange, MemberState},
    message::{Message, ReplicaError, Request, Response, TrafficClass},
    node::{Readiness, StartError},
    node_id::HostId,
    partitioning::Token,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Cluster, header, put, write};

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
    cluster.until("it serves", |c| c.node("n4").readiness() == Readiness::Ready).await;
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
    assert_eq!((member.state, member.up), (MemberState::Joining, Some(true)));
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

#[tokio::test(start_paused = true)]
async fn a_node_whose_token_another_has_does_not_start_and_says_whose_it_is() {
    let mut cluster = Cluster::empty();
    cluster.start_with("n1", |settings| settings.initial_tokens = vec![Token(7)]).await;
    cluster.until("it has formed", |c| c.agrees_on(1)).await;

    let taken =
        cluster.try_start_with("n2", |settings| settings.initial_tokens = vec![Token(7), Token(9)]).await;
    let Err(StartError::Identity(why)) = taken else { panic!("{taken:?}") };
    let owner = cluster.node("n1").host_id().to_string();
    assert!(why.contains("token 7") && why.contains(&owner) && why.contains("n1"), "{why}");
    assert_eq!(members(asked_for_a_turn(&cluster, 9).await), 1, "it only checked, and took no turn");

    cluster.start_with("n3", |settings| settings.initial_tokens = vec![Token(8)]).await;
    cluster.until("it has joined", |c| c.agrees_on(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_learns_later_that_another_has_its_token_says_so() {
    let mut cluster = Cluster::empty();
    cluster.start_with("n1", |settings| settings.initial_tokens = vec![Token(7)]).await;
    cluster.until("it has formed", |c| c.agrees_on(1)).await;
    cluster.cut("n1", "n3");
    cluster.start_with("n3", |settings| settings.initial_tokens = vec![Token(7)]).await;

    cluster.heal("n1", "n3");

    let says_so = |why: &str| why.contains("token 7 of this node is that of host");
    let is_told = |c: &Cluster| matches!(c.node("n3").readiness(), Readiness::Starting(why) if says_so(&why));
    cluster.until("it says so", is_told).await;
}

/// What a new node hears that asks for the members, to choose its tokens.
async fn asked_for_a_turn(cluster: &Cluster, new: u128) -> Response {
    let header = header(HostId(Uuid::from_u128(new)), None, TrafficClass::Control);
    let body = Request::Exchange(Exchange {
        cluster_id: None,
        members: vec![],
        tables: vec![],
        has_user_records: false,
    });
    cluster.node("n1").handle(Message { header, body }).await.body
}

fn members(answer: Response) -> usize {
    match answer {
        Response::Exchange(known) => known.members.len(),
        _ => 0,
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_again_and_again_for_the_members_has_its_turn_no_longer() {
    let cluster = Cluster::of(1).await;
    assert_eq!(members(asked_for_a_turn(&cluster, 1).await), 1);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(members(asked_for_a_turn(&cluster, 1).await), 1, "it is its turn still");
    tokio::time::sleep(Duration::from_secs(6)).await;

    assert_eq!(members(asked_for_a_turn(&cluster, 2).await), 1);
}

#[tokio::test(start_paused = true)]
async fn new_nodes_choose_their_tokens_one_after_the_other() {
    let mut cluster = Cluster::of(1).await;
    assert_eq!(members(asked_for_a_turn(&cluster, 1).await), 1, "the first");
    assert_eq!(members(asked_for_a_turn(&cluster, 1).await), 1, "again, for an answer may be lost");
    let second = asked_for_a_turn(&cluster, 2).await;
    assert!(matches!(second, Response::Failed(ReplicaError::Overloaded(_))), "{second:?}");

    // Whose connection ends, has died or does not start.
    cluster.node("n1").on_connection_ended(HostId(Uuid::from_u128(1)));
    assert_eq!(members(asked_for_a_turn(&cluster, 3).await), 1);
    cluster.node("n1").on_connection_ended(HostId(Uuid::from_u128(2)));
    let other = asked_for_a_turn(&cluster, 2).await;
    let Response::Failed(ReplicaError::Overloaded(why)) = other else { panic!("{other:?}") };
    assert!(why.contains(&format!("host {} chooses", Uuid::from_u128(3))), "{why}");

    // Who never shows up, holds up the others for a while only.
    let begun = Instant::now();
    cluster.start_with("n2", |settings| settings.allocate_tokens_for = Some(3)).await;
    let waits = |why: &str| why.contains("it waits for its turn to choose tokens: n1 says that host");
    let says_so = |c: &Cluster| matches!(c.node("n2").readiness(), Readiness::Starting(why) if waits(&why));
    cluster.until("it says for whom it waits", says_so).await;
    cluster.until("it has joined", |c| c.agrees_on(2)).await;
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(members(asked_for_a_turn(&cluster, 2).await), 2, "its turn is over when it is listed");
}
