//! Promise: a node shows itself to one cluster at most, and says so where its seeds belong to two.

use std::time::Duration;

use helenus_cluster::{
    node::{Readiness, StartError},
    settings::Settings,
};

use crate::support::Cluster;

const OURS: [&str; 2] = ["n1", "n2"];
const OTHER: &str = "m1";

/// A cluster of two nodes, and one of one node that has the same name.
async fn two_clusters() -> Cluster {
    let mut cluster = Cluster::of(2).await;
    cluster.start_with(OTHER, |settings| settings.seeds.clear()).await;
    cluster.until("it is ready", |c| c.node(OTHER).readiness() == Readiness::Ready).await;
    cluster
}

fn seeds_of_both(settings: &mut Settings) {
    settings.seeds = vec!["n1".to_owned(), OTHER.to_owned()];
}

fn names_both(cluster: &Cluster, why: &str) -> bool {
    ["n1", OTHER].iter().all(|name| {
        let id = cluster.status(name).cluster_id.expect("it belongs to a cluster");
        why.contains(&format!("{id} ({name})"))
    })
}

fn lists(cluster: &Cluster, name: &str) -> bool {
    cluster.seen(name, "x").is_some()
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_seeds_belong_to_two_clusters_does_not_start_and_is_listed_by_neither() {
    for allocate_tokens_for in [None, Some(3)] {
        let mut cluster = two_clusters().await;

        let refused = cluster
            .try_start_with("x", |settings| {
                seeds_of_both(settings);
                settings.allocate_tokens_for = allocate_tokens_for;
            })
            .await;

        let Err(StartError::Identity(why)) = refused else { panic!("{refused:?}") };
        assert!(names_both(&cluster, &why), "{why}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!OURS.iter().chain([&OTHER]).any(|name| lists(&cluster, name)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_finds_its_seeds_in_two_clusters_later_joins_neither_and_says_so() {
    let mut cluster = two_clusters().await;
    cluster.cut("x", "n1");
    cluster.cut("x", OTHER);
    cluster.start_with("x", seeds_of_both).await;

    cluster.heal("x", "n1");
    cluster.heal("x", OTHER);

    let says_so =
        |c: &Cluster| matches!(c.node("x").readiness(), Readiness::Starting(why) if names_both(c, &why));
    cluster.until("it says so", says_so).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(says_so(&cluster));
    assert!(!OURS.iter().chain([&OTHER]).any(|name| lists(&cluster, name)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_joined_one_cluster_is_never_listed_by_another() {
    let mut cluster = two_clusters().await;
    cluster.cut("x", OTHER);
    cluster.start_with("x", seeds_of_both).await;
    cluster.until("it has joined", |c| OURS.iter().all(|name| c.sees_up(name, "x"))).await;

    cluster.heal("x", OTHER);

    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!lists(&cluster, OTHER));
    assert_eq!(cluster.status("x").members.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_two_clusters_call_before_it_has_chosen_is_listed_by_neither() {
    let mut cluster = two_clusters().await;
    // Both ask whoever is at that address, since it is one of their seeds.
    let seeds = |settings: &mut Settings| settings.seeds = vec!["x".to_owned()];
    for name in ["n1", "n2", OTHER] {
        cluster.kill(name).await;
        cluster.start_with(name, seeds).await;
    }

    cluster.start_with("x", |settings| settings.seeds = vec!["nobody".to_owned()]).await;

    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!OURS.iter().chain([&OTHER]).any(|name| lists(&cluster, name)));
}
