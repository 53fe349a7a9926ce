//! A node is a host id on disk, never an address.

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    error::RequestError,
    membership::MemberState,
    message::{Header, Message, Request, TrafficClass},
    node::{Readiness, StartError},
    node_id::Generation,
    quorum::{AsOf, Wants},
    table::DEFAULT_TABLE_ID,
    time::Timestamp,
};

use helenus_storage::disk::Damage;

use crate::support::{Cluster, header};

/// As every answer of the node says it.
async fn generation_of(cluster: &Cluster, name: &str) -> Generation {
    let header = Header {
        remaining: Duration::ZERO,
        ..header(cluster.node("n1").host_id(), None, TrafficClass::Request)
    };
    let body = Request::Read {
        table: DEFAULT_TABLE_ID,
        key: "key".into(),
        as_of: AsOf { now: Timestamp(0), ..AsOf::default() },
        wants: Wants::Record,
    };
    cluster.node(name).handle(Message { header, body }).await.header.generation
}

#[tokio::test(start_paused = true)]
async fn host_id_and_tokens_outlive_restarts_and_the_generation_grows() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.seen("n1", "n2").expect("it is a member");
    let mut generations = vec![generation_of(&cluster, "n2").await];

    // No virtual second passes between the first two starts, and the clock goes back before the third.
    for behind in [0, 0, 3600] {
        cluster.machines["n2"].clock.run_behind_by(Duration::from_secs(behind));
        cluster.restart("n2").await;
        generations.push(generation_of(&cluster, "n2").await);
    }
    cluster.machines["n2"].clock.run_behind_by(Duration::ZERO);
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    assert_eq!(cluster.seen("n1", "n2"), Some(before));
    assert!(generations.is_sorted_by(|earlier, later| earlier < later), "{generations:?}");
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

#[tokio::test(start_paused = true)]
async fn a_node_that_crashed_before_it_could_flush_starts_however_often_that_was() {
    let mut cluster = Cluster::of(1).await;
    cluster.put("n1", "key", "value", One).await.expect("one of one");
    cluster.kill("n1").await;
    // Each recovery goes on in a new segment of the log, and dies before anything makes the log shorter.
    for _ in 0..40 {
        let machine = &cluster.machines["n1"];
        machine.open_storage().die();
        machine.disk.restart(machine.seed, Damage::Forgotten);
    }

    cluster.start("n1").await;
    cluster.until("it serves", |c| c.node("n1").readiness() == Readiness::Ready).await;

    assert_eq!(cluster.get("n1", "key", One).await, Ok(Some("value".to_owned())));
}

/// Waits until n8, a copy of n3, serves in its place.
async fn copy_takes_over(cluster: &Cluster) {
    cluster
        .until("the copy has taken over", |c| {
            matches!(c.node("n3").readiness(), Readiness::Starting(why) if why.contains("n8"))
                && c.node("n8").readiness() == Readiness::Ready
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_with_one_host_id_the_one_that_started_first_serves_no_more() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    // Somebody copies the data directory of n3, and starts the copy elsewhere.
    cluster.kill("n3").await;
    cluster.copy_machine("n3", "n8");
    cluster.start("n3").await;
    cluster.until("all are up again", |c| c.agrees_on(3)).await;
    cluster.start("n8").await;

    copy_takes_over(&cluster).await;

    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.node("n8").readiness(), Readiness::Ready, "it stays so");
    assert!(cluster.sees_up("n1", "n8") && cluster.seen("n1", "n3").is_none());
    assert!(matches!(cluster.put("n3", "key", "new", Quorum).await, Err(RequestError::Starting(_))));
    cluster.put("n1", "key", "newer", All).await.expect("the copy is the replica now");
}

#[tokio::test(start_paused = true)]
async fn of_a_node_and_its_copy_that_start_in_the_same_second_one_serves_no_more() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.copy_machine("n3", "n8");
    cluster.start("n3").await;
    // Both go by one clock.
    cluster.machines["n8"].clock.run_ahead_by(Duration::from_millis(1));
    cluster.start("n8").await;

    copy_takes_over(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_addresses_were_all_exchanged_find_each_other() {
    // For n2 and n3, the seed is the address of a member that they know.
    let mut cluster = Cluster::with(3, |settings| settings.seeds = vec!["n1".to_owned()]).await;
    let hosts = ["n1", "n2", "n3"].map(|name| cluster.node(name).host_id());
    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }

    let moved = [("n1", "n2"), ("n2", "n3"), ("n3", "n1")];
    for (name, address) in moved {
        cluster.start_with(name, |settings| settings.advertise = address.to_owned()).await;
    }

    cluster.until("they find each other", |c| c.agrees_on(3)).await;
    for (host_id, (_, address)) in hosts.into_iter().zip(moved) {
        assert_eq!(cluster.seen("n1", address).map(|member| member.host_id), Some(host_id));
    }
    cluster.put("n1", "key", "value", All).await.expect("all are alive");
    let exchanged = cluster.network.exchanges();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.network.exchanges(), exchanged, "they have met");
}

#[tokio::test(start_paused = true)]
async fn whoever_lives_at_the_address_of_a_dead_member_is_not_met_again_and_again() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n3").await;
    cluster.start_with("another disk", |settings| settings.advertise = "n3".to_owned()).await;
    cluster.until("it is known", |c| ["n1", "n2"].iter().all(|name| c.sees_up(name, "n3"))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    // It has yet to hear of the dead one, and asks those who are alive for nothing else.
    let exchanged = cluster.network.exchanges();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(cluster.network.exchanges() - exchanged <= 30, "{}", cluster.network.exchanges() - exchanged);
}
