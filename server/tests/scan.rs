//! Promise: a scan meets every key that is there all the time exactly once, whichever nodes answer its pages, die or
//! restart meanwhile; on a byte-ordered cluster in key order, within bounds; and no number of tombstones fails it.

mod processes;

use std::{collections::BTreeSet, process::Command};

use helenus_bench::{load::Routing, workload::Phase};
use processes::{Reply, TestCluster, load::Load};
use serde_json::{Value, json};

/// Does operations in batches, each of which must succeed.
fn batch(cluster: &TestCluster, operations: &[Value]) {
    for some in operations.chunks(1000) {
        let body = json!({ "consistency": "all", "operations": some }).to_string();
        processes::wait_until("a batch is done", || {
            let reply = cluster.request("POST", 1, "/v1/batch", Some(body.as_bytes()));
            let results = reply.json()["results"].as_array().cloned().unwrap_or_default();
            results.len() == some.len() && results.iter().all(|result| result["status"] == 200)
        });
    }
}

fn put(table: &str, key: &str) -> Value {
    json!({ "op": "put", "table": table, "key": key, "value": format!("value of {key}") })
}

fn delete(table: &str, key: &str) -> Value {
    json!({ "op": "delete", "table": table, "key": key })
}

fn keys_of(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("a page has items");
    items.iter().map(|item| item["key"].as_str().expect("a text").to_owned()).collect()
}

/// One page, asked for until there is one.
fn page(cluster: &TestCluster, node: usize, path: &str, token: Option<&str>) -> Value {
    let path = token.map_or(path.to_owned(), |token| format!("{path}&page={token}"));
    let mut reply: Option<Reply> = None;
    processes::wait_until(&format!("node {node} answers {path}"), || {
        reply = cluster.try_request("GET", node, &path, &[], None).ok();
        reply.as_ref().is_some_and(|reply| reply.status == 200)
    });
    reply.expect("it was answered").json()
}

/// All pages of a scan, through one node.
fn pages(cluster: &TestCluster, node: usize, path: &str) -> Vec<Value> {
    let mut pages = vec![page(cluster, node, path, None)];
    while let Some(next) = pages[pages.len() - 1]["next"].as_str().map(str::to_owned) {
        pages.push(page(cluster, node, path, Some(&next)));
    }
    pages
}

#[test]
fn a_scan_goes_on_elsewhere_past_a_death_and_over_restarts() {
    let cluster = TestCluster::start(3);
    // Of one table the whole ring has the same replicas, of the other nearly each token range has its own.
    for (table, factor) in [("wide", 3), ("narrow", 2)] {
        let body = json!({ "replication": { "class": "simple", "factor": factor } }).to_string();
        let reply = cluster.request("PUT", 1, &format!("/v1/tables/{table}"), Some(body.as_bytes()));
        assert_eq!(reply.status, 201, "{}", reply.json());
        let keys: Vec<Value> = (0..3000).map(|number| put(table, &format!("stable/{number}"))).collect();
        batch(&cluster, &keys);
    }
    for (table, level) in [("wide", "quorum"), ("narrow", "one")] {
        let path = format!("/v1/kv/{table}?limit=7&consistency={level}");
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        for round in 0.. {
            let alive = if (100..250).contains(&round) { 2 } else { 3 };
            match round {
                100 => cluster.kill(3),
                250 => {
                    cluster.spawn(3);
                    cluster.wait_until_ready(3);
                }
                300 => {
                    assert_eq!(cluster.terminate(2), Some(0));
                    cluster.spawn(2);
                    cluster.wait_until_ready(2);
                }
                _ => {}
            }
            if round % 50 == 0 {
                // Others come and go before, at and behind the place.
                let key = format!("/v1/kv/{table}/passing-{round}?consistency=one");
                assert_eq!(cluster.request("PUT", 1, &key, Some(b"")).status, 200);
            }
            let page = page(&cluster, round % alive + 1, &path, token.as_deref());
            found.extend(keys_of(&page));
            match page["next"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        let once: BTreeSet<&String> = found.iter().collect();
        assert_eq!(once.len(), found.len(), "none twice in {table}");
        let stable = found.iter().filter(|key| key.starts_with("stable/")).count();
        assert_eq!(stable, 3000, "all in {table}");
    }
    // Of what it holds for others, a token grants nothing.
    let first = page(&cluster, 1, "/v1/kv/wide?limit=1", None);
    let token = first["next"].as_str().expect("there is more");
    for path in [format!("/v1/kv/narrow?page={token}"), format!("/v1/kv/wide?page={}", &token[1..])] {
        let reply = cluster.request("GET", 2, &path, None);
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!("page")), "{path}");
    }
    let reply = cluster.request("GET", 1, "/v1/kv/wide?prefix=stable", None);
    assert_eq!((reply.status, &reply.json()["field"]), (400, &json!("prefix")));
}

#[test]
fn a_byte_ordered_cluster_scans_in_key_order_within_bounds_and_past_any_number_of_tombstones() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["cluster.partitioner=byte-ordered"]);
    cluster.wait_until_ready(1);
    let mut keys: Vec<String> = (0..300).map(|number| format!("user/{number}")).collect();
    keys.extend(["a", "z", "userx"].map(str::to_owned));
    batch(&cluster, &keys.iter().map(|key| put("default", key)).collect::<Vec<_>>());
    keys.sort();
    let scan = |query: &str| -> Vec<String> {
        let pages = pages(&cluster, 1, &format!("/v1/kv/default?keys_only=1&{query}"));
        pages.iter().flat_map(keys_of).collect()
    };
    let expected = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
        keys.iter().filter(|key| wanted(key)).cloned().collect()
    };

    assert_eq!(scan("limit=13"), keys);
    assert_eq!(scan("prefix=user%2F2&limit=7"), expected(&|key| key.starts_with("user/2")));
    assert_eq!(scan("start=user%2F250&end=user%2F3"), expected(&|key| ("user/250".."user/3").contains(&key)));
    assert_eq!(scan("start=m&prefix=user%2F29"), expected(&|key| key.starts_with("user/29")));
    assert_eq!(scan("start=v&prefix=user"), Vec::<String>::new());
    let first = page(&cluster, 1, "/v1/kv/default?prefix=user&limit=1", None);
    let token = first["next"].as_str().expect("there is more");
    let foreign = cluster.request("GET", 1, &format!("/v1/kv/default?prefix=use&page={token}"), None);
    assert_eq!((foreign.status, &foreign.json()["field"]), (400, &json!("page")));

    // The command shows the same.
    let command = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_helenus"))
            .args(["scan", "default", "--endpoint", &cluster.url(1)])
            .args(arguments)
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"))
    };
    let (json, _) = command(&["--all", "-o", "json"]);
    let document: Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((keys_of(&document), &document["next"]), (keys.clone(), &Value::Null));
    let (table, note) = command(&["--prefix", "user/1", "--limit", "2"]);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["KEY", "TIMESTAMP", "VALUE"]);
    assert_eq!(
        (words[1][0], &words[1][2..], words[2][0]),
        ("user/1", &["value", "of", "user/1"][..], "user/10")
    );
    assert_eq!(words.len(), 3);
    let next = note.split("--page ").nth(1).and_then(|rest| rest.split(',').next()).expect("a token");
    let (rest, _) = command(&["--prefix", "user/1", "--page", next, "--keys-only", "--all"]);
    assert!(rest.contains("user/11") && !rest.contains("user/10 ") && rest.contains("user/199"), "{rest}");

    // More of them than a page may have.
    let deleted: Vec<Value> =
        (0..12_000).map(|number| delete("default", &format!("gone/{number}"))).collect();
    batch(&cluster, &deleted);
    let pages = pages(&cluster, 1, "/v1/kv/default?prefix=gone&limit=1000");
    assert!(pages.len() > 1 && pages.iter().all(|page| keys_of(page).is_empty()), "{} pages", pages.len());
    assert_eq!(scan("limit=1000"), keys);
}

#[test]
fn the_workload_of_scans_runs_against_real_nodes() {
    let cluster = TestCluster::start(3);
    let smaller = ["recordcount=500", "operationcount=400"];
    let mut load = Load::new(&cluster, "workloade", &smaller, Routing::RoundRobin);
    load.carry_out(Phase::Load, 500);
    load.carry_out(Phase::Run, 400);
    let scanned = page(&cluster, 2, "/v1/kv/usertable?limit=3", None);
    assert_eq!(keys_of(&scanned).len(), 3);
}
