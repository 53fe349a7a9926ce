//! Nodes of different clusters never talk.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{One, Quorum},
    error::RequestError,
    node::Readiness,
};

use crate::support::Cluster;

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_name_is_refused_on_both_sides() {
    let mut cluster = Cluster::of(2).await;

    cluster.start_with("n3", |settings| settings.cluster_name = "other".to_owned()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let refusals = cluster.network.refusals();
    assert!(
        refusals.iter().any(|(at, why)| at == "n3" && why.contains("\"test\" is not \"other\"")),
        "{refusals:?}"
    );
    assert!(
        refusals.iter().any(|(at, why)| at == "n1" && why.contains("\"other\" is not \"test\"")),
        "{refusals:?}"
    );
    assert!(cluster.seen("n1", "n3").is_none());
    let Readiness::Starting(why) = cluster.node("n3").readiness() else { panic!("it must not form a ring") };
    assert!(!why.is_empty());
    assert!(matches!(cluster.get("n3", "key", One).await, Err(RequestError::Starting(_))));
    cluster.put("n1", "key", "value", Quorum).await.expect("n1 and n2 go on undisturbed");
}

#[tokio::test(start_paused = true)]
async fn clusters_of_one_name_that_were_formed_apart_stay_apart() {
    let mut cluster = Cluster::empty();
    cluster.start_with("n1", |settings| settings.seeds = vec!["n1".to_owned()]).await;
    cluster.start_with("n2", |settings| settings.seeds = vec!["n2".to_owned()]).await;
    cluster
        .until("both have formed", |c| {
            ["n1", "n2"].iter().all(|name| c.node(name).readiness() == Readiness::Ready)
        })
        .await;

    cluster.kill("n2").await;
    cluster.start_with("n2", |settings| settings.seeds = vec!["n1".to_owned()]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert_ne!(cluster.status("n1").cluster_id, cluster.status("n2").cluster_id);
    assert!(cluster.seen("n1", "n2").is_none() && cluster.seen("n2", "n1").is_none());
    assert!(cluster.network.refusals().iter().any(|(at, why)| at == "n1" && why.contains("formed apart")));
}
