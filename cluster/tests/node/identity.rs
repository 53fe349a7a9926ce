//! A node is a host id on disk, never an address.

use helenus_cluster::{membership::MemberState, node::StartError};

use crate::support::Cluster;

#[tokio::test(start_paused = true)]
async fn host_id_and_tokens_outlive_restarts_and_the_generation_grows() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.seen("n1", "n2").expect("it is a member");

    cluster.restart("n2").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    assert_eq!(cluster.seen("n1", "n2"), Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_node_may_come_back_under_another_address() {
    let mut cluster = Cluster::of(3).await;
    let host_id = cluster.node("n3").host_id();

    cluster.kill("n3").await;
    cluster.start_with("n3", |settings| settings.advertise = "n3-moved".to_owned()).await;

    cluster
        .until("it is known by its new address", |c| {
            ["n1", "n2"].iter().all(|name| c.sees_up(name, "n3-moved")) && c.agrees_on(3)
        })
        .await;
    let member = cluster.seen("n1", "n3-moved").expect("just seen");
    assert_eq!((member.host_id, member.state), (host_id, MemberState::Normal));
    assert_eq!(cluster.seen("n1", "n3"), None, "there is no second member at the old address");
}

#[tokio::test(start_paused = true)]
async fn a_data_directory_of_another_cluster_is_refused_at_the_start() {
    let mut cluster = Cluster::of(1).await;
    cluster.kill("n1").await;

    let refused = cluster.try_start_with("n1", |settings| settings.cluster_name = "other".to_owned()).await;

    let Err(StartError::Identity(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("`test`") && text.contains("`other`"), "{text}");
}
