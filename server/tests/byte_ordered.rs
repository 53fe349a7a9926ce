//! Promise: a byte-ordered cluster keeps each key where its first bytes say, through deaths and restarts, and lets no
//! node of another partitioner in.

mod processes;

use processes::{TestCluster, wait_until};

const BYTE_ORDERED: &str = "cluster.partitioner=byte-ordered";

/// The address of the owner of a key.
fn owner(cluster: &TestCluster, node: usize, key: &str) -> String {
    let answer = cluster.request("GET", node, &format!("/admin/v1/endpoints/default/{key}"), None).json();
    answer["replicas"][0]["address"].as_str().unwrap_or_else(|| panic!("no replica in {answer}")).to_owned()
}

fn path(key: &str, level: &str) -> String {
    format!("/v1/kv/default/{key}?consistency={level}")
}

#[test]
fn three_byte_ordered_nodes_serve_by_range_and_refuse_another_partitioner() {
    let cluster = TestCluster::stopped(4);
    // Node 1 ends at `h`, node 2 at `q`, node 3 at `z`: what follows wraps round to node 1.
    let tokens =
        ["node.initial_token=[\"68\"]", "node.initial_token=[\"71\"]", "node.initial_token=[\"7a\"]"];
    for (number, token) in (1..).zip(tokens) {
        cluster.spawn_with(number, &[BYTE_ORDERED, token]);
    }
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 3);
    }
    for (key, number) in
        [("apple", 1), ("h", 1), ("hazel", 2), ("pear", 2), ("quince", 3), ("z", 3), ("zebra", 1)]
    {
        for asked in 1..=3 {
            wait_until(&format!("node {asked} places {key} at node {number}"), || {
                owner(&cluster, asked, key) == cluster.peer_address(number)
            });
        }
    }
    let keys = ["apple", "pear", "zebra"];
    for key in keys {
        let written = || cluster.request("PUT", 1, &path(key, "all"), Some(key.as_bytes())).status == 200;
        wait_until(&format!("{key} is written"), written);
    }
    assert_eq!(cluster.request("DELETE", 2, &path("pear", "all"), None).status, 200);

    // A node of another partitioner: refused by both sides, each by name.
    let address = cluster.peer_address(4);
    cluster.spawn_with(4, &["cluster.partitioner=murmur3"]);
    wait_until("it is told why it is alone", || {
        let Ok(reply) = cluster.try_request("GET", 4, "/readyz", &[], None) else { return false };
        reply.status == 503 && reply.json()["detail"].as_str().is_some_and(|why| why.contains("partitioner"))
    });
    let said = |line: &str| line.contains("partitioner") && line.contains("is not");
    wait_until("both logs name the partitioners", || {
        cluster.log(1).lines().any(said) && cluster.log(4).lines().any(said)
    });
    assert!((1..=3).all(|node| {
        cluster
            .members(node)
            .is_some_and(|members| members.iter().all(|member| member["address"] != address.as_str()))
    }));
    cluster.kill(4);

    // One dies; the others serve, and what was deleted stays so.
    cluster.kill(3);
    for key in keys {
        let reply = cluster.request("GET", 2, &path(key, "quorum"), None);
        assert_eq!(reply.status, if key == "pear" { 404 } else { 200 }, "{key}");
    }
    assert_eq!(cluster.request("PUT", 1, &path("quince", "quorum"), Some(b"new")).status, 200);
    // All start again, with the tokens that they have.
    assert_eq!(cluster.terminate(1), Some(0));
    cluster.kill(2);
    (1..=3).for_each(|number| cluster.spawn_with(number, &[BYTE_ORDERED, tokens[number - 1]]));
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 3);
    }
    for (key, status) in [("apple", 200), ("pear", 404), ("zebra", 200)] {
        wait_until(&format!("{key} is read from all"), || {
            cluster.request("GET", 3, &path(key, "all"), None).status == status
        });
    }
    assert_eq!(cluster.request("GET", 3, &path("quince", "quorum"), None).body, b"new");

    // Fixed for ever: its own data is of another partitioner.
    assert_eq!(cluster.terminate(3), Some(0));
    cluster.spawn_with(3, &["cluster.partitioner=murmur3"]);
    let log = cluster.wait_for_failure(3);
    assert!(log.contains("partitioner") && log.contains("murmur3"), "{log}");
}
