//! A cluster forms from nodes started in any order, and no node forgets the ring it knew.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    membership::{Exchange, MemberState},
    message::{Message, Request, TrafficClass},
    node::Readiness,
    node_id::HostId,
    settings::Settings,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Cluster, header};

#[tokio::test(start_paused = true)]
async fn three_nodes_form_one_cluster_and_agree_on_its_members() {
    let cluster = Cluster::of(3).await;

    let views: Vec<_> = ["n1", "n2", "n3"].map(|name| cluster.status(name)).into();
    for view in &views {
        assert!(view.cluster_id.is_some());
        assert_eq!(view.cluster_id, views[0].cluster_id);
        assert_eq!(view.members.len(), 3);
        let mut addresses: Vec<_> = view.members.iter().map(|m| m.address.clone()).collect();
        assert!(addresses.is_sorted(), "ordered for people");
        addresses.dedup();
        assert_eq!(addresses.len(), 3);
        for member in &view.members {
            assert_eq!(member.tokens, 16);
            assert!((member.owns - 1.0).abs() < 1e-9, "factor 3 of 3 nodes: each holds everything");
            assert_eq!(member.why, None);
            let is_own = member.host_id == view.host_id;
            assert!(member.load_bytes.is_some() || !is_own, "that of others comes with gossip");
        }
    }
    let knows_loads = |c: &Cluster, name| c.status(name).members.iter().all(|m| m.load_bytes.is_some());
    cluster
        .until("all loads are known", |c| ["n1", "n2", "n3"].iter().all(|name| knows_loads(c, name)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn nodes_form_one_cluster_in_whatever_order_they_start() {
    for order in [["n1", "n2", "n3"], ["n3", "n2", "n1"], ["n2", "n3", "n1"]] {
        let mut cluster = Cluster::empty();
        for name in order {
            cluster.start(name).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        cluster.until("one cluster of three", |c| c.agrees_on(3)).await;
        cluster.put("n2", "key", "value", All).await.expect("all are alive");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_started_at_the_same_instant_form_one_cluster_soon() {
    let begun = Instant::now();
    let cluster = Cluster::of(5).await;

    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let first = cluster.status("n1").cluster_id;
    assert!((2..=5).all(|number| cluster.status(&format!("n{number}")).cluster_id == first));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_no_first_seed_waits_for_its_seeds() {
    let mut cluster = Cluster::empty();
    cluster.start("n3").await;
    tokio::time::sleep(Duration::from_secs(30)).await;

    let Readiness::Starting(why) = cluster.node("n3").readiness() else {
        panic!("it formed a ring of its own")
    };
    assert!(
        why.contains("only the first of the list, n1, forms a new one, and it does not answer"),
        "the reason names whom it waits for: {why}"
    );
    assert_eq!(cluster.seen("n3", "n3").and_then(|member| member.why), Some(why), "as does the status");
    assert!(matches!(cluster.put("n3", "key", "v", One).await, Err(RequestError::Starting(_))));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_seeds_forms_a_cluster_of_factor_one() {
    let mut cluster = Cluster::empty();
    cluster.start_with("n1", |settings| settings.seeds.clear()).await;
    cluster.until("it is ready", |c| c.node("n1").readiness() == Readiness::Ready).await;

    let met = cluster.put("n1", "key", "value", All).await.expect("one replica of one").met;

    assert_eq!((met.required, met.acknowledged), (1, 1));
    assert_eq!(cluster.get("n1", "key", Quorum).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn the_forming_node_decides_the_factor_for_all() {
    let mut cluster = Cluster::empty();
    for (name, factor) in [("n1", Some(2)), ("n2", Some(3)), ("n3", None)] {
        cluster.start_with(name, |settings| settings.default_replication_factor = factor).await;
    }
    cluster.until("one cluster of three", |c| c.agrees_on(3)).await;

    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.put(name, "key", "value", All).await.expect("all are alive").met.required, 2);
        let owned: f64 = cluster.status(name).members.iter().map(|member| member.owns).sum();
        assert!((owned - 2.0).abs() < 1e-9, "two copies of everything: {owned}");
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_nodes_than_the_factor_do_not_lower_what_a_level_requires() {
    let cluster = Cluster::of(1).await;

    let refused = cluster.put("n1", "key", "value", Quorum).await;
    assert!(
        matches!(refused, Err(RequestError::Unavailable { level: Quorum, required: 2, alive: 1, .. })),
        "{refused:?}"
    );
    cluster.put("n1", "key", "value", One).await.expect("n1 itself");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_whose_peers_are_dead_knows_the_whole_ring() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.status("n1");
    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }

    cluster.start("n1").await;

    cluster.until("it needs nobody", |c| c.node("n1").readiness() == Readiness::Ready).await;
    let after = cluster.status("n1");
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_eq!(after.members.len(), 3);
    assert!(after.members.iter().all(|member| member.state == MemberState::Normal));
    let refused = cluster.put("n1", "key", "value", Quorum).await;
    assert!(
        matches!(refused, Err(RequestError::Unavailable { level: Quorum, required: 2, alive: 1, .. })),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_down_member_stays_in_the_ring() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;

    tokio::time::sleep(Duration::from_secs(3600)).await;

    let dead = cluster.seen("n1", "n3").expect("a ring never shrinks by forgetting");
    assert_eq!(dead.up, Some(false));
    assert_eq!(dead.state, MemberState::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_is_up_again_within_two_exchanges() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;

    cluster.start("n3").await;
    let begun = Instant::now();
    cluster.until("it is up", |c| c.agrees_on(3)).await;

    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Few tokens and one replica: tokens that were not chosen with all others in sight show.
fn choosing(settings: &mut Settings) {
    settings.allocate_tokens_for = Some(1);
    settings.default_replication_factor = Some(1);
    settings.num_tokens = 4;
}

fn largest_share(cluster: &Cluster) -> f64 {
    cluster.status("n1").members.iter().map(|member| member.owns).fold(0.0, f64::max)
}

#[tokio::test(start_paused = true)]
async fn a_new_node_asks_who_is_there_and_chooses_tokens_that_even_out_the_shares() {
    let shares_of = async |allocate_tokens_for| {
        let mut cluster = Cluster::empty();
        for (name, size) in [("n1", 1), ("n2", 2), ("n3", 3)] {
            cluster
                .start_with(name, |settings| {
                    choosing(settings);
                    settings.allocate_tokens_for = allocate_tokens_for;
                })
                .await;
            cluster.until("it has joined", |c| c.agrees_on(size)).await;
        }
        largest_share(&cluster)
    };
    let (drawn, allocated) = (shares_of(None).await, shares_of(Some(1)).await);
    assert!(allocated < 0.40 && allocated < drawn, "the largest share: {allocated} allocated, {drawn} drawn");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_waited_long_for_the_first_seed_share_the_keys_as_evenly() {
    let mut cluster = Cluster::empty();
    for name in ["n2", "n3"] {
        cluster.start_with(name, choosing).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cluster.status("n2").members[0].tokens, 0, "it waits with its choice");
    cluster.kill("n3").await;
    cluster.start_with("n3", choosing).await;

    cluster.start_with("n1", choosing).await;

    cluster.until("one cluster of three", |c| c.agrees_on(3)).await;
    let largest = largest_share(&cluster);
    assert!(largest < 0.40, "the largest share: {largest}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_while_its_only_seed_is_paused_shares_the_keys_as_evenly() {
    let mut cluster = Cluster::empty();
    let seed = |settings: &mut Settings| {
        choosing(settings);
        settings.seeds.truncate(1);
    };
    for (name, size) in [("n1", 1), ("n2", 2)] {
        cluster.start_with(name, seed).await;
        cluster.until("it has joined", |c| c.agrees_on(size)).await;
    }
    cluster.pause("n1");
    cluster.start_with("n3", seed).await;
    tokio::time::sleep(Duration::from_secs(120)).await;

    cluster.resume("n1");

    cluster.until("one cluster of three", |c| c.agrees_on(3)).await;
    let largest = largest_share(&cluster);
    assert!(largest < 0.40, "the largest share: {largest}");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_seeds_die_before_it_has_chosen_its_tokens_asks_them_once_per_round() {
    let mut cluster = Cluster::empty();
    for (name, size) in [("n1", 1), ("n2", 2)] {
        cluster.start_with(name, choosing).await;
        cluster.until("it has joined", |c| c.agrees_on(size)).await;
    }
    // Somebody who never shows up keeps the new node from its choice.
    for name in ["n1", "n2"] {
        let header = header(HostId(Uuid::from_u128(1)), None, TrafficClass::Control);
        let body = Request::Exchange(Exchange::nothing());
        cluster.node(name).handle(Message { header, body }).await;
    }
    cluster.start_with("n3", choosing).await;
    let waits = |c: &Cluster| matches!(c.node("n3").readiness(), Readiness::Starting(why) if why.contains("waits for its turn"));
    cluster.until("it waits for its turn", waits).await;

    // From now on calls fail at once.
    cluster.cut("n1", "n3");
    cluster.cut("n2", "n3");
    let before = cluster.network.exchanges();
    tokio::time::sleep(Duration::from_secs(30)).await;

    let asked = cluster.network.exchanges() - before;
    assert!((55..=65).contains(&asked), "{asked} questions to two seeds in 30 rounds");
    cluster.heal("n1", "n3");
    cluster.heal("n2", "n3");
    cluster.until("one cluster of three", |c| c.agrees_on(3)).await;
}

#[tokio::test(start_paused = true)]
async fn the_tokens_of_a_removed_member_count_for_nothing() {
    let mut cluster = Cluster::empty();
    for (name, size) in [("n1", 1), ("n2", 2), ("n3", 3)] {
        cluster.start_with(name, choosing).await;
        cluster.until("it has joined", |c| c.agrees_on(size)).await;
    }
    let removed = cluster.node("n2").host_id();
    cluster.kill("n2").await;
    cluster.until("it is dead", |c| c.sees_down("n1", "n2")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    cluster.node("n1").assassinate(removed, false).await.expect("it is dead");

    cluster.start_with("n4", choosing).await;

    cluster.until("one cluster of three", |c| c.agrees_on(3)).await;
    let largest = largest_share(&cluster);
    assert!(largest < 0.40, "the largest share: {largest}");
}
