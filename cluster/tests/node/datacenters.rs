//! With two datacenters: who counts at which level, one message for each remote one, and what is said when one is cut off.

use std::collections::BTreeMap;

use helenus_cluster::{
    consistency::Consistency::{self, All, Any, EachQuorum, LocalOne, LocalQuorum, One, Quorum},
    error::{RequestError, Shortage},
    node::TraceEvent,
};

use crate::support::{Cluster, put, write};

/// n1, n2 and n3 in dc1, n4, n5 and n6 in dc2; three replicas in each, so every node has every key.
pub async fn two_datacenters() -> Cluster {
    let factors = BTreeMap::from([("dc1".to_owned(), 3), ("dc2".to_owned(), 3)]);
    let mut cluster = Cluster::empty();
    for number in 1..=6 {
        let datacenter = if number <= 3 { "dc1" } else { "dc2" };
        let change = |settings: &mut helenus_cluster::settings::Settings| {
            settings.default_replication = factors.clone();
            settings.datacenter = datacenter.to_owned();
        };
        cluster.start_with(&format!("n{number}"), change).await;
    }
    cluster.until("all nodes are normal and up everywhere", |c| c.agrees_on(6)).await;
    cluster
}

async fn traced(cluster: &Cluster, coordinator: &str, level: Consistency) -> Vec<TraceEvent> {
    let mut request = write("key", put("value"), level);
    request.options.trace = true;
    cluster.node(coordinator).write(request).await.expect("all are alive").met.trace
}

#[tokio::test(start_paused = true)]
async fn a_traced_write_tells_the_steps_of_replicas_that_it_was_forwarded_to() {
    let cluster = two_datacenters().await;

    let trace = traced(&cluster, "n1", All).await;

    for number in 1..=6 {
        let host_id = cluster.node(&format!("n{number}")).host_id();
        let mut told = trace.iter().filter(|event| event.node == host_id).map(|event| event.what.as_str());
        for step in ["received", "queued for the commit log", "applied, and synced to disk", "applied"] {
            assert!(told.any(|what| what.starts_with(step)), "n{number}, {step}: {trace:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_level_requires_what_its_datacenters_say() {
    let cluster = two_datacenters().await;
    for (level, required) in
        [(Any, 1), (One, 1), (LocalOne, 1), (LocalQuorum, 2), (EachQuorum, 4), (Quorum, 4), (All, 6)]
    {
        for coordinator in ["n1", "n5"] {
            let met = cluster.put(coordinator, "key", "value", level).await.expect("all are alive").met;
            assert_eq!(met.required, required, "{level}");
            if level != Any {
                let met = cluster.read(coordinator, "key", level).await.expect("all are alive").met;
                assert_eq!(met.required, required, "{level}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_crosses_to_another_datacenter_once_and_reaches_every_replica_there() {
    let cluster = two_datacenters().await;

    let trace = traced(&cluster, "n1", All).await;

    let sent = trace.iter().filter(|event| event.what.starts_with("sent to"));
    let forwarded = trace.iter().filter(|event| event.what.contains("to be forwarded to"));
    assert_eq!((sent.count(), forwarded.count()), (4, 1), "three here, one there: {trace:#?}");
    assert_eq!(trace.iter().filter(|event| event.what == "applied").count(), 6, "{trace:#?}");
    for name in ["n4", "n5", "n6"] {
        assert_eq!(cluster.get(name, "key", LocalOne).await, Ok(Some("value".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_that_is_gone_or_silent_loses_no_write() {
    for silent in [false, true] {
        let mut cluster = two_datacenters().await;
        let forwarder = forwarder_of(&cluster, &traced(&cluster, "n1", All).await);
        if silent {
            cluster.pause(&forwarder);
        } else {
            cluster.kill(&forwarder).await;
        }

        // It is known to nobody yet, and two replicas of each datacenter are left.
        cluster.put("n1", "key", "later", EachQuorum).await.expect("two of three are left in each");

        let others: Vec<_> = ["n4", "n5", "n6"].into_iter().filter(|name| *name != forwarder).collect();
        for other in others {
            let here = cluster.node(other).read(crate::support::read("key", LocalOne)).await;
            let here = here.expect("it is alive itself");
            assert_eq!(crate::support::value_of(&here), Some("later".to_owned()), "{silent}");
        }
    }
}

fn forwarder_of(cluster: &Cluster, trace: &[TraceEvent]) -> String {
    let line = trace.iter().find(|event| event.what.contains("to be forwarded to")).expect("one does");
    let host = line.what.strip_prefix("sent to ").and_then(|rest| rest.split(',').next()).expect("its name");
    let is_it = |name: &&str| cluster.node(name).host_id().to_string() == host;
    (*["n4", "n5", "n6"].iter().find(|name| is_it(name)).expect("one of dc2")).to_owned()
}

#[tokio::test(start_paused = true)]
async fn with_the_other_datacenter_gone_local_levels_work_and_the_others_say_why_not() {
    let mut cluster = two_datacenters().await;
    for name in ["n4", "n5", "n6"] {
        cluster.kill(name).await;
        cluster.until("its death is known", |c| c.sees_down("n1", name)).await;
    }

    for level in [LocalOne, LocalQuorum, One, Any] {
        cluster.put("n1", "key", "value", level).await.expect("dc1 is whole");
    }
    for level in [LocalOne, LocalQuorum] {
        assert_eq!(cluster.get("n1", "key", level).await, Ok(Some("value".to_owned())));
    }
    let each = cluster.put("n1", "key", "value", EachQuorum).await;
    let lacking = vec![Shortage { datacenter: "dc2".to_owned(), required: 2, had: 0 }];
    let Err(RequestError::Unavailable { required: 4, alive: 3, shortages, down, .. }) = each else {
        panic!("{each:?}")
    };
    assert_eq!((shortages, down.len()), (lacking, 3));
    let all = cluster.get("n1", "key", All).await;
    assert!(
        matches!(&all, Err(RequestError::Unavailable { required: 6, alive: 3, down, .. }) if down.len() == 3),
        "{all:?}"
    );
}
