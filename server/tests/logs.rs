//! Promise: the log tells what happens to a cluster, a line for each event, in words that a person understands or as
//! JSON; a request has one id in the logs of all nodes that work on it.

mod processes;

use processes::{TestCluster, wait_until};
use serde_json::Value;

/// Stores a value under a key, at all replicas.
fn put_everywhere(cluster: &TestCluster, key: &str) {
    let path = format!("/v1/kv/default/{key}?consistency=all&timeout_ms=30000");
    wait_until("all replicas have it", || cluster.request("PUT", 1, &path, Some(b"v")).status == 200);
}

/// Waits for a line that has all these parts.
fn wait_for_line(cluster: &TestCluster, number: usize, parts: &[&str]) -> String {
    let mut found = String::new();
    wait_until(&format!("node {number} logs {parts:?}"), || {
        let log = cluster.log(number);
        let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        found = line.unwrap_or_default().to_owned();
        line.is_some()
    });
    found
}

#[test]
fn a_node_tells_what_happens_to_it_and_to_its_peers() {
    let cluster = TestCluster::start(3);
    let [n1, n3] = [1, 3].map(|number| cluster.peer_address(number));
    for parts in [&["starting version="][..], &["formed a new cluster"], &["serving", n1.as_str()]] {
        wait_for_line(&cluster, 1, parts);
    }
    wait_for_line(&cluster, 1, &["a member has joined", &n3, "datacenter=\"dc1\" rack=\"rack1\""]);
    wait_for_line(&cluster, 3, &["joined: this node owns its ranges"]);

    cluster.kill(3);
    let dead = wait_for_line(&cluster, 1, &["WARN", "peer is dead", "state=\"dead\"", &n3]);
    for why in ["phi=", "silent_ms=", "failed_probes="] {
        assert!(dead.contains(why), "{dead}");
    }
    for number in 0..5 {
        let path = format!("/v1/kv/default/k{number}?timeout_ms=30000");
        assert_eq!(cluster.request("PUT", 1, &path, Some(b"v")).status, 200);
    }
    cluster.spawn(3);
    wait_for_line(&cluster, 1, &["peer is up", "state=\"up\"", &n3]);
    let delivering = wait_for_line(&cluster, 1, &["delivering hints", "hints=5"]);
    let host = delivering.split(' ').find(|word| word.starts_with("host=")).expect("it says for whom");
    // On a machine with other work to do, in more than one go.
    wait_for_line(&cluster, 1, &["delivered hints", host, "left=0 elapsed_ms="]);

    for key in ["k5", "k6"] {
        // Flushed is what this node has: two others may be faster.
        put_everywhere(&cluster, key);
        assert_eq!(cluster.request("POST", 1, "/admin/v1/flush?wait_ms=30000", None).status, 200);
    }
    wait_for_line(&cluster, 1, &["flushed table=\"default\" written_bytes=", "elapsed_ms="]);
    assert_eq!(cluster.request("POST", 1, "/admin/v1/compact?wait_ms=30000", None).status, 200);
    let compacted =
        wait_for_line(&cluster, 1, &["compacted table=\"default\" kind=\"major\" input_tables=2"]);
    assert!(compacted.contains("output_tables=1 output_bytes="), "{compacted}");

    assert_eq!(cluster.terminate(2), Some(0));
    for line in ["stopping;", "stopped"] {
        wait_for_line(&cluster, 2, &[line]);
    }
}

#[test]
fn a_slow_request_is_logged_with_its_steps_and_its_id_on_each_node() {
    let cluster = TestCluster::stopped(3);
    for number in 1..=3 {
        // More than a machine hesitates, less than the request below has.
        cluster.spawn_with(number, &["coordinator.slow_request_threshold=\"250ms\"", "log.filter=\"debug\""]);
    }
    for number in 1..=3 {
        cluster.wait_until_seen_up(number, 3);
    }
    cluster.pause(3);
    // Long enough for node 2 to hear of it on a busy machine.
    let path = "/v1/kv/default/slow?consistency=all&timeout_ms=3000";
    let reply = cluster.request("PUT", 1, path, Some(b"v"));
    cluster.resume(3);
    assert_eq!(reply.status, 504, "{reply:?}");
    let id = format!("request_id={}", reply.header("helenus-request-id").expect("an id"));
    assert!(!reply.headers.contains_key("helenus-trace"), "nobody asked for it");

    let slow = wait_for_line(&cluster, 1, &["WARN", "slow request", &id]);
    for part in ["operation=\"write\" table=\"default\" elapsed_ms=", "trace=\"", "µs"] {
        assert!(slow.contains(part), "{part}: {slow}");
    }
    let host = cluster.request("GET", 1, "/admin/v1/info", None).json()["host_id"].clone();
    let coordinator = format!("sender={}", host.as_str().expect("an id"));
    wait_for_line(&cluster, 2, &["part of a request", &id, &coordinator, "what=\"write\""]);
}

#[test]
fn each_line_is_json_on_request_and_what_repeats_is_counted() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["log.format=\"json\""]);
    cluster.wait_until_ready(1);
    for _ in 0..30 {
        let path = "/admin/v1/log-level?level=info&target=helenus_cluster";
        assert_eq!(cluster.request("PUT", 1, path, None).status, 200);
    }
    assert_eq!(cluster.terminate(1), Some(0));
    let lines: Vec<Value> = cluster
        .log(1)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let said = |what: &str| {
        lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with(what)))
            .count()
    };
    assert_eq!((said("the log has another filter"), said("repeated 29 times within 60 s: the log")), (1, 1));
    assert!(
        lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()),
        "{lines:#?}"
    );
}
