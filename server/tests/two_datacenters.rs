//! Promise: nodes that read datacenter and rack off their addresses put the replicas of each key into distinct racks of
//! each datacenter, all of them agree where, and none of them starts again somewhere else.

mod processes;

use std::collections::BTreeSet;

use processes::{TestCluster, wait_until};

#[test]
fn six_nodes_hold_each_key_in_distinct_racks_of_both_datacenters() {
    let (cluster, datacenters) = TestCluster::in_two_datacenters(6);
    let replication = format!("cluster.default_replication={}=3,{}=2", datacenters[0], datacenters[1]);
    let settings = ["snitch.kind=rack-inferring", replication.as_str()];
    for number in 1..=6 {
        cluster.spawn_with(number, &settings);
    }
    for number in 1..=6 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 6);
    }
    // The last to become normal are heard of a little later: until then they count as pending.
    wait_until("no replica is pending anywhere", || {
        (1..=6).all(|node| endpoints(&cluster, node, 0)["pending"].as_array().is_some_and(Vec::is_empty))
    });

    for key in 0..1000 {
        let answer = endpoints(&cluster, 1 + key % 6, key);
        assert_eq!(answer["pending"].as_array().map(Vec::len), Some(0), "key {key}: {answer}");
        let replicas = answer["replicas"].as_array().expect("a list").clone();
        let racks = |datacenter: &str| {
            let here = replicas.iter().filter(|replica| replica["datacenter"] == datacenter);
            here.map(|replica| replica["rack"].as_str().expect("a name").to_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(replicas.len(), 5, "key {key}: {answer}");
        assert_eq!(racks(&datacenters[0]).len(), 3, "key {key}: {answer}");
        assert_eq!(racks(&datacenters[1]).len(), 2, "key {key}: {answer}");
        if key % 100 == 0 {
            assert_eq!(answer, endpoints(&cluster, 1 + (key + 1) % 6, key), "two nodes, key {key}");
        }
    }
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=all", Some(b"v")).status, 200);
    assert_eq!(cluster.request("GET", 6, "/v1/kv/default/k?consistency=quorum", None).body, b"v");

    let missing = cluster.request("GET", 1, "/admin/v1/endpoints/nothing/k", None);
    assert_eq!((missing.status, &missing.json()["type"]), (404, &"/problems/no-such-table".into()));

    assert_eq!(cluster.terminate(6), Some(0));
    cluster.spawn_with(6, &["node.rack=rack9"]);
    let log = cluster.wait_for_failure(6);
    assert!(log.contains("is now said to be in datacenter `dc1`, rack `rack9`"), "{log}");
}

fn endpoints(cluster: &TestCluster, node: usize, key: usize) -> serde_json::Value {
    let reply = cluster.request("GET", node, &format!("/admin/v1/endpoints/default/key%20{key}"), None);
    assert_eq!(reply.status, 200, "key {key}");
    reply.json()
}
