//! Promise: who knows the ring and hashes keys as Cassandra's drivers do finds a replica by himself.

mod processes;

use helenus_bench::{load::Routing, workload::Phase};
use processes::{TestCluster, load::Load};

/// Requests of clients, and writes and reads of its own files, that a node has counted.
fn counted(cluster: &TestCluster, number: usize) -> (u64, u64) {
    let reply = cluster.request("GET", number, "/metrics", None);
    let text = String::from_utf8(reply.body).expect("text");
    let sum = |names: &[&str]| {
        let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        let values = lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect(line));
        values.sum()
    };
    let of_clients = sum(&["helenus_coordinator_requests_total"]);
    let own = ["helenus_replica_read_duration_seconds_count", "helenus_replica_write_duration_seconds_count"];
    (of_clients, sum(&own))
}

/// Of each node, the requests of clients and those of them or of others that it answered from its own files.
fn counts(cluster: &TestCluster, routing: Routing) -> Vec<(u64, u64)> {
    let before: Vec<_> = (1..=3).map(|number| counted(cluster, number)).collect();
    let mut load = Load::new(cluster, "workloada", &["recordcount=400", "table=single"], routing);
    load.carry_out(Phase::Load, 400);
    load.carry_out(Phase::Run, 400);
    let after = (1..=3).map(|number| counted(cluster, number));
    after.zip(before).map(|(after, before)| (after.0 - before.0, after.1 - before.1)).collect()
}

#[test]
fn a_token_aware_load_goes_straight_to_the_only_replica_of_each_key() {
    let cluster = TestCluster::start(3);
    let body = r#"{"replication": {"class": "simple", "factor": 1}}"#;
    assert_eq!(cluster.request("PUT", 1, "/v1/tables/single", Some(body.as_bytes())).status, 201);

    let counts_of_aware = counts(&cluster, Routing::TokenAware);
    assert!(counts_of_aware.iter().all(|(clients, own)| clients == own && *own > 0), "{counts_of_aware:?}");

    let counts_of_others = counts(&cluster, Routing::RoundRobin);
    assert!(counts_of_others.iter().any(|(clients, own)| clients != own), "{counts_of_others:?}");
}
