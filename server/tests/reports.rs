//! Promise: each node says what it knows of its cluster, at once, whoever is dead; for people in the shapes of nodetool,
//! for programs in JSON whose fields stay.

mod processes;

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use processes::{TestCluster, wait_until};
use serde_json::{Value, json};

fn run(cluster: &TestCluster, number: usize, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helenus"))
        .arg("admin")
        .args(arguments)
        .env("HELENUS_ENDPOINT", cluster.url(number))
        .output()
        .expect("the binary runs")
}

/// What a command prints, which must succeed.
fn shown(cluster: &TestCluster, number: usize, arguments: &[&str]) -> String {
    let output = run(cluster, number, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What it prints for programs, which is what the route answers.
fn told(cluster: &TestCluster, number: usize, arguments: &[&str]) -> Value {
    let text = shown(cluster, number, &[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn every_report_of_a_cluster_with_a_dead_node() {
    let cluster = TestCluster::start(3);
    let [n1, n2, n3] = [1, 2, 3].map(|number| cluster.peer_address(number));
    let created = cluster.request(
        "PUT",
        1,
        "/v1/tables/single",
        Some(br#"{"replication": {"class": "simple", "factor": 1}}"#),
    );
    assert_eq!(created.status, 201);
    assert_eq!(created.json()["agreed"], true);
    for number in [1, 2, 3] {
        let versions = &told(&cluster, number, &["describe-cluster"])["schema_versions"];
        let all = json!([n1, n2, n3]);
        assert_eq!(versions.as_array().map(|versions| versions.len()), Some(1), "{versions}");
        assert_eq!(versions[0]["members"], all, "what all agreed to is what all are said to know");
    }
    cluster.kill(3);
    wait_until("its death is known", || {
        let detector = cluster.request("GET", 1, "/admin/v1/failure-detector", None).json();
        detector["peers"].as_array().is_some_and(|peers| peers.iter().any(|peer| peer["belief"] == "dead"))
    });

    ring(&cluster, &n3);
    info(&cluster, &n1);
    described(&cluster, [&n1, &n2, &n3]);
    gossiped(&cluster, &n3);
    suspected(&cluster, [&n2, &n3]);
    misused(&cluster);

    // A node that is silent and not dead yet is waited for no more than a dead one.
    cluster.pause(2);
    for command in COMMANDS {
        shown(&cluster, 1, &[command]);
    }
}

const COMMANDS: [&str; 6] = ["status", "ring", "info", "describe-cluster", "gossip-info", "failure-detector"];

fn ring(cluster: &TestCluster, dead: &str) {
    let ring = told(cluster, 1, &["ring"]);
    assert_eq!(fields(&ring), ["members", "table", "tokens"].into());
    let tokens: Vec<i64> = ring["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|token| token["token"].as_str().expect("a text").parse().expect("a number"))
        .collect();
    assert!(tokens.len() == 48 && tokens.is_sorted(), "{tokens:?}");
    assert_eq!(ring["tokens"], told(cluster, 2, &["ring"])["tokens"], "all nodes see one ring");
    let owned = |ring: &Value| -> f64 {
        ring["members"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|member| member["owns"].as_f64().expect("a share"))
            .sum()
    };
    for (arguments, replicas) in
        [(&["ring"][..], 1.0), (&["ring", "--table", "single"], 1.0), (&["ring", "--table", "default"], 3.0)]
    {
        assert!((owned(&told(cluster, 1, arguments)) - replicas).abs() < 1e-9, "{arguments:?}");
    }

    let text = shown(cluster, 1, &["ring", "--table", "default"]);
    let lines = words(&text);
    assert_eq!(lines[0], ["Datacenter:", "dc1"]);
    assert_eq!(lines[2], ["Address", "Rack", "Status", "State", "Load", "Owns", "Token"]);
    assert_eq!(lines[3], [tokens[47].to_string()], "above the first token is the last");
    assert_eq!(lines[4].last().copied(), Some(tokens[0].to_string().as_str()));
    let of_dead: Vec<_> = lines.iter().filter(|line| line.first() == Some(&dead)).collect();
    assert_eq!(of_dead.len(), 16);
    assert!(of_dead.iter().all(|line| line[1..4] == ["rack1", "Down", "Normal"] && line.contains(&"100.0%")));
}

fn info(cluster: &TestCluster, address: &str) {
    let info = told(cluster, 1, &["info"]);
    let expected = [
        "address",
        "block_cache",
        "clock",
        "cluster_id",
        "cluster_name",
        "datacenter",
        "filter_bytes",
        "generation",
        "host_id",
        "index_bytes",
        "load_bytes",
        "max_requests",
        "memtable_bytes",
        "open_connections",
        "rack",
        "readiness",
        "requests_in_flight",
        "resident_bytes",
        "state",
        "tokens",
        "uptime_seconds",
        "version",
        "why",
        "why_not_ready",
    ];
    assert_eq!(fields(&info), expected.into());
    assert_eq!((&info["address"], &info["readiness"]), (&json!(address), &json!("ready")));
    assert_eq!(
        info["clock"],
        json!({ "offset_us": info["clock"]["offset_us"], "skew": null, "told_by": [] })
    );
    assert!(info["resident_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20), "{info}");

    let tokens = |arguments: &[&str]| {
        shown(cluster, 1, arguments).lines().filter(|line| line.starts_with("Token ")).count()
    };
    assert_eq!((tokens(&["info"]), tokens(&["info", "-T"])), (1, 16));
    let text = shown(cluster, 1, &["info"]);
    for name in
        ["ID", "Load", "Generation No", "Uptime (seconds)", "Resident Memory", "Data Center", "Rack", "Clock"]
    {
        assert!(
            text.lines()
                .any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}:"))),
            "{name}: {text}"
        );
    }
}

fn described(cluster: &TestCluster, [n1, n2, dead]: [&str; 3]) {
    let description = told(cluster, 1, &["describe-cluster"]);
    let expected = [
        "cluster_id",
        "cluster_name",
        "datacenters",
        "dynamic_snitch",
        "members",
        "partitioner",
        "releases",
        "schema_versions",
        "snitch",
        "tables",
        "unknown",
        "unreachable",
    ];
    assert_eq!(fields(&description), expected.into());
    assert_eq!(description["schema_versions"][0]["members"], json!([n1, n2]));
    assert_eq!(description["unreachable"], json!([dead]));
    assert_eq!(description["members"], json!({ "live": 2, "unreachable": 1, "unknown": 0, "joining": 0 }));
    let rack = json!({ "name": "rack1", "members": 3, "down": 1, "unknown": 0 });
    assert_eq!(
        description["datacenters"],
        json!([{ "name": "dc1", "members": 3, "down": 1, "unknown": 0, "racks": [rack] }])
    );
    assert_eq!(
        description["tables"],
        json!([
            { "name": "default", "replication": { "class": "simple", "factor": 3 } },
            { "name": "single", "replication": { "class": "simple", "factor": 1 } },
        ])
    );

    let text = shown(cluster, 1, &["describe-cluster"]);
    for line in [
        "    Snitch: settings".to_owned(),
        "    Partitioner: murmur3".to_owned(),
        format!(
            "        {}: [{n1}, {n2}]",
            description["schema_versions"][0]["version"].as_str().expect("a version")
        ),
        format!("        UNREACHABLE: [{dead}]"),
        "    Unreachable: 1".to_owned(),
        "    dc1 #Nodes: 3 #Down: 1".to_owned(),
        "    single -> Replication class: simple {factor=1}".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
}

fn gossiped(cluster: &TestCluster, dead: &str) {
    let gossip = told(cluster, 1, &["gossip-info"]);
    assert_eq!(fields(&gossip), ["convictions", "host_id", "members", "rejected"].into());
    let member =
        gossip["members"].as_array().expect("a list").iter().find(|member| member["address"] == dead);
    let member = member.expect("the dead are known too");

    let text = shown(cluster, 1, &["gossip-info"]);
    let of_dead: Vec<&str> = text.lines().skip_while(|line| *line != dead).collect();
    let described = &member["described"];
    for line in [
        format!("  generation:{}", member["generation"]),
        format!("  heartbeat:{}", member["heartbeat"]),
        format!("  STATUS:{described}:normal"),
        format!("  RACK:{described}:rack1"),
        format!("  TOKENS:{described}:<16 of them>"),
    ] {
        assert!(of_dead.contains(&line.as_str()), "{line} is missing from\n{text}");
    }
    for fact in member["facts"].as_array().expect("a list") {
        let text = |field: &str| fact[field].as_str().expect("a text").to_owned();
        let line = format!("  {}:{}:{}", text("name").to_uppercase(), fact["version"], text("value"));
        assert!(of_dead.contains(&line.as_str()), "{line} is missing from\n{of_dead:?}");
    }
}

fn suspected(cluster: &TestCluster, [live, dead]: [&str; 2]) {
    let detector = told(cluster, 1, &["failure-detector"]);
    assert_eq!(fields(&detector), ["convictions", "host_id", "peers", "threshold"].into());
    let [of_live, of_dead] = [&detector["peers"][0], &detector["peers"][1]];
    let expected = [
        "address",
        "belief",
        "clock_offset_us",
        "dead_seconds",
        "failed_probes",
        "host_id",
        "phi",
        "round_trip_us",
        "silent_seconds",
        "up",
    ];
    assert_eq!(fields(of_live), expected.into());
    let known =
        |peer: &Value| json!([peer["address"], peer["belief"], peer["up"], peer["dead_seconds"].is_null()]);
    assert_eq!(known(of_live), json!([live, "alive", true, true]));
    assert_eq!(known(of_dead), json!([dead, "dead", false, false]));
    assert!(of_live["round_trip_us"].is_u64() && of_dead["round_trip_us"].is_null(), "{detector}");
    assert_eq!((&of_dead["failed_probes"], &detector["convictions"]), (&json!(2), &json!(1)));

    let text = shown(cluster, 1, &["failure-detector"]);
    let lines = words(&text);
    assert_eq!(lines[1][..3], [live, "yes", "alive"], "{text}");
    assert_eq!(lines[2][..3], [dead, "no", "dead"], "{text}");
}

fn misused(cluster: &TestCluster) {
    for command in COMMANDS {
        for arguments in
            [&[command, "-o", "xml"][..], &[command, "more"], &[command, "--endpoint", "ftp://x"]]
        {
            let output = run(cluster, 1, arguments);
            let hint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {hint}");
            assert!(output.stdout.is_empty() && !hint.is_empty(), "{arguments:?}");
        }
        let reply = cluster.request("GET", 1, &format!("/admin/v1/{command}?verbose=1"), None);
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!("verbose")), "{command}");
        assert_eq!(
            cluster.request("POST", 1, &format!("/admin/v1/{command}"), Some(b"")).status,
            405,
            "{command}"
        );
    }
    let misspelt = run(cluster, 1, &["ring", "--table", "Default"]);
    assert_eq!(misspelt.status.code(), Some(2));
    let unknown = run(cluster, 1, &["ring", "--table", "nothing"]);
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && error.contains("no-such-table (404)"), "{error}");
    let command = run(cluster, 1, &["failuredetector"]);
    let hint = String::from_utf8_lossy(&command.stderr).into_owned();
    assert!(command.status.code() == Some(2) && hint.contains("'failure-detector'"), "{hint}");
}
