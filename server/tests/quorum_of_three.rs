//! Promise: three nodes and their quorum behave when nodes die, stop answering and come back alone.

mod processes;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use processes::{TestCluster, wait_until};

#[test]
fn two_dead_nodes_make_quorum_unavailable_at_once_while_one_still_works() {
    let cluster = TestCluster::start(3);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=all", Some(b"v")).status, 200);

    cluster.kill(2);
    cluster.kill(3);
    wait_until_dead(&cluster, 1, 2);

    // A deadline of 100 ms would make it 504, if the answer waited for anything.
    for (method, body) in [("PUT", Some(&b"new"[..])), ("GET", None), ("DELETE", None)] {
        let reply = cluster.request(method, 1, "/v1/kv/default/k?consistency=quorum&timeout_ms=100", body);
        assert_eq!(reply.status, 503, "{method}");
        let problem = reply.json();
        assert_eq!(problem["type"], "/problems/unavailable");
        assert_eq!((&problem["required"], &problem["alive"]), (&2.into(), &1.into()));
        assert_eq!(problem["outcome"], if method == "GET" { "none" } else { "not-applied" });
        assert!(reply.header("retry-after").is_some());
    }
    let reply = cluster.request("GET", 1, "/v1/kv/default/k?consistency=one", None);
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"v"[..]), "503 means not applied");
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=one", Some(b"w")).status, 200);
    assert_eq!(cluster.request("GET", 1, "/v1/kv/default/k?consistency=one", None).body, b"w");
}

#[test]
fn with_a_dead_node_each_operation_of_a_batch_has_its_own_verdict() {
    let cluster = TestCluster::start(3);
    cluster.kill(3);
    wait_until_dead(&cluster, 1, 1);
    let batch = |level: &str| {
        let operations: Vec<_> = (0..60)
            .flat_map(|key| {
                let key = format!("k{key}");
                [
                    serde_json::json!({ "op": "put", "table": "default", "key": key, "value": level }),
                    serde_json::json!({ "op": "get", "table": "default", "key": key }),
                ]
            })
            .collect();
        let body = serde_json::json!({ "consistency": level, "operations": operations }).to_string();
        let reply = cluster.request("POST", 1, "/v1/batch", Some(body.as_bytes()));
        assert_eq!(reply.status, 200);
        reply.json()["results"].as_array().unwrap_or_else(|| panic!("no results")).clone()
    };

    for result in batch("all") {
        assert_eq!((&result["status"], &result["problem"]["alive"]), (&503.into(), &2.into()), "{result}");
    }
    for (place, result) in batch("quorum").iter().enumerate() {
        assert_eq!(result["status"], 200, "{result}");
        if place % 2 == 1 {
            assert_eq!(result["value"], "quorum", "the put before it on the same key is seen");
        }
    }
}

#[test]
fn a_death_is_known_at_once_to_nodes_that_have_nothing_to_ask_for() {
    let interval = Duration::from_secs(10);
    let cluster = TestCluster::stopped(3);
    for number in 1..=3 {
        // One after the other, or a failed first call would be repeated only an interval later.
        cluster.spawn_with(number, &[&format!("gossip.interval=\"{}s\"", interval.as_secs())]);
        cluster.wait_until_ready(number);
    }
    (1..=3).for_each(|number| cluster.wait_until_seen_up(number, 3));

    for (dead, observers) in [(3, vec![1, 2]), (2, vec![1])] {
        cluster.kill(dead);
        let killed = Instant::now();
        for observer in observers {
            wait_until_dead(&cluster, observer, 4 - dead);
        }
        assert!(killed.elapsed() < interval / 5, "known after {:?}", killed.elapsed());
    }
    let reply = cluster.request("GET", 1, "/v1/kv/default/k?consistency=quorum", None);
    assert_eq!(reply.json()["type"], "/problems/unavailable");
}

#[test]
fn a_node_whose_seed_refuses_it_says_why_it_is_not_ready() {
    let cluster = TestCluster::stopped(2);
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    cluster.spawn_with(2, &["cluster.name=another"]);
    let mut detail = String::new();
    wait_until("the seed has refused", || {
        let Ok(reply) = cluster.try_request("GET", 2, "/readyz", &[], None) else { return false };
        assert_eq!(reply.status, 503, "{reply:?}");
        detail = reply.json()["detail"].as_str().expect("a detail").to_owned();
        detail.contains("refused")
    });
    assert!(detail.contains(&cluster.peer_address(1)) && detail.contains("another"), "{detail}");
}

#[test]
fn a_paused_node_makes_no_quorum_request_through_the_others_fail() {
    let cluster = TestCluster::start(3);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when an assertion below fails: the scope waits for its workers.
        let finish = OnDrop(|| done.store(true, Ordering::Relaxed));
        let workers: Vec<_> = (1..=2)
            .map(|node| {
                let (cluster, done) = (&cluster, &done);
                scope.spawn(move || {
                    let mut requests = 0;
                    while !done.load(Ordering::Relaxed) {
                        let key = format!("/v1/kv/default/node{node}-{}?consistency=quorum", requests % 50);
                        let value = format!("{requests}");
                        let reply = cluster.request("PUT", node, &key, Some(value.as_bytes()));
                        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
                        let reply = cluster.request("GET", node, &key, None);
                        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
                        assert_eq!(reply.body, value.as_bytes());
                        requests += 1;
                    }
                    requests
                })
            })
            .collect();

        // Requests meet a node that is alive, one that has just stopped, and one that has been silent for a while:
        // the pause lasts until many requests have been answered on top of those that wait for the silent node.
        cluster.pause(3);
        for round in 0..200 {
            let path = format!("/v1/kv/default/round{round}?consistency=quorum");
            assert_eq!(cluster.request("PUT", 1 + round % 2, &path, Some(b"x")).status, 200);
        }
        let reply = cluster.request("GET", 1, "/v1/kv/default/round0?consistency=all&timeout_ms=1500", None);
        // Silent at first; taken for dead once that has lasted, which a slow machine may live to see.
        let (status, problem) = (reply.status, reply.json()["type"].clone());
        assert!(
            (status == 504 && problem == "/problems/read-timeout")
                || (status == 503 && problem == "/problems/unavailable"),
            "{status} {problem}"
        );
        cluster.resume(3);
        drop(finish);
        for worker in workers {
            assert!(worker.join().expect("no request failed") > 0);
        }
    });
    // And the node takes part again: ALL needs it.
    wait_until("the resumed node answers", || {
        cluster.request("PUT", 1, "/v1/kv/default/all?consistency=all", Some(b"x")).status == 200
    });
}

#[test]
fn a_node_restarted_alone_knows_the_whole_ring_and_answers_unavailable() {
    let cluster = TestCluster::start(3);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=all", Some(b"v")).status, 200);
    for number in 1..=3 {
        cluster.kill(number);
    }

    // Node 2 is no seed: all it knows of the others is what it has saved.
    cluster.spawn(2);
    cluster.wait_until_ready(2);

    let members = cluster.members(2).expect("a status");
    assert_eq!(members.len(), 3, "{members:?}");
    let reply = cluster.request("GET", 2, "/v1/kv/default/k?consistency=quorum", None);
    assert_eq!(reply.status, 503, "not a quorum of a smaller ring");
    assert_eq!((&reply.json()["required"], &reply.json()["alive"]), (&2.into(), &1.into()));
    assert_eq!(cluster.request("GET", 2, "/v1/kv/default/k?consistency=one", None).body, b"v");

    // The others come back and it joins in.
    cluster.spawn(1);
    cluster.spawn(3);
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 3);
    }
    assert_eq!(cluster.request("GET", 2, "/v1/kv/default/k?consistency=all", None).body, b"v");
}

#[test]
fn a_node_that_comes_after_the_first_record_stays_joining_and_says_why() {
    let cluster = TestCluster::stopped(4);
    for number in 1..=3 {
        cluster.spawn(number);
    }
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 3);
    }
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k", Some(b"v")).status, 200);

    cluster.spawn(4);
    cluster.wait_until_ready(4);

    let mut newcomer = None;
    wait_until("node 1 lists the newcomer", || {
        let members = cluster.members(1).expect("a status");
        newcomer = members.into_iter().find(|member| member["state"] == "joining");
        newcomer.is_some()
    });
    wait_until("the newcomer says why it is joining", || {
        let members = cluster.members(4).expect("a status");
        members.iter().any(|member| member["state"] == "joining" && member["why"].is_string())
    });
    // It coordinates, and reads do not depend on what it does not have.
    assert_eq!(cluster.request("GET", 4, "/v1/kv/default/k?consistency=all", None).body, b"v");
    assert_eq!(newcomer.expect("found above")["owns"], 0.0);
}

#[test]
fn sigterm_stops_a_node_cleanly_and_its_acknowledged_writes_are_there_afterwards() {
    let cluster = TestCluster::start(1);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=one", Some(b"v")).status, 200);
    assert_eq!(cluster.terminate(1), Some(0));
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(cluster.request("GET", 1, "/v1/kv/default/k?consistency=one", None).body, b"v");
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn wait_until_dead(cluster: &TestCluster, observer: usize, dead: usize) {
    wait_until(&format!("node {observer} knows of {dead} deaths"), || {
        let members = cluster.members(observer).expect("a status");
        members.iter().filter(|member| member["up"] == false).count() == dead
    });
}
