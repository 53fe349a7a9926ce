//! Promise: members are told alive from dead, and one cluster from another, as processes die, freeze, move, lose their
//! seeds and meet strangers; a node with a wrong clock is named, coordinates no writes, and changes the schema
//! like any other.

mod processes;

use processes::{Reply, TestCluster, wait_until};
use serde_json::Value;

/// How a node sees the member at an address.
fn member(cluster: &TestCluster, observer: usize, address: &str) -> Option<Value> {
    cluster.members(observer)?.into_iter().find(|member| member["address"] == address)
}

fn wait_until_up_is(cluster: &TestCluster, observers: &[usize], of: usize, up: bool) {
    let address = cluster.peer_address(of);
    for &observer in observers {
        wait_until(&format!("node {observer} sees node {of} up: {up}"), || {
            member(cluster, observer, &address).is_some_and(|member| member["up"] == up)
        });
    }
}

fn put(cluster: &TestCluster, node: usize, key: &str, level: &str) -> Reply {
    cluster.request("PUT", node, &format!("/v1/kv/default/{key}?consistency={level}"), Some(b"v"))
}

/// Waits until a node acknowledges a write at a level: peers are called again a little after they are back.
fn wait_until_written(cluster: &TestCluster, node: usize, key: &str, level: &str) {
    wait_until(&format!("node {node} writes at {level}"), || put(cluster, node, key, level).status == 200);
}

#[test]
fn members_die_freeze_move_and_lose_their_seed() {
    let mut cluster = TestCluster::stopped(4);
    // The second seed is dead all along; the nodes start at once.
    let seeds = |live: &str| format!("cluster.seeds=[\"{live}\", \"127.0.0.99:9\"]");
    let by_first = seeds(&cluster.peer_address(1));
    (1..=3).for_each(|number| cluster.spawn_with(number, &[&by_first]));
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 3);
    }
    wait_until_written(&cluster, 1, "all", "all");

    // Killed, and started again.
    cluster.kill(3);
    wait_until_up_is(&cluster, &[1, 2], 3, false);
    assert_eq!(put(&cluster, 1, "two", "quorum").status, 200);
    assert_eq!(put(&cluster, 1, "two", "all").status, 503);
    cluster.spawn_with(3, &[&by_first]);
    wait_until_up_is(&cluster, &[1, 2], 3, true);

    // Frozen until it is taken for dead: its connections stand, it merely says nothing.
    cluster.pause(2);
    wait_until_up_is(&cluster, &[1, 3], 2, false);
    assert_eq!(put(&cluster, 3, "two", "quorum").status, 200);
    cluster.resume(2);
    wait_until_up_is(&cluster, &[1, 3], 2, true);
    wait_until_up_is(&cluster, &[2], 1, true);
    wait_until_up_is(&cluster, &[2], 3, true);

    // A member is its host id: at another address it is the same one, and the old address is nobody's.
    let before = cluster.peer_address(3);
    let host_id = member(&cluster, 1, &before).expect("a member")["host_id"].clone();
    assert_eq!(cluster.terminate(3), Some(0));
    cluster.move_to_another_address(3);
    cluster.spawn_with(3, &[&by_first]);
    cluster.wait_until_ready(3);
    wait_until_up_is(&cluster, &[1, 2, 3], 3, true);
    for observer in 1..=3 {
        let moved = member(&cluster, observer, &cluster.peer_address(3)).expect("a member");
        assert_eq!(moved["host_id"], host_id);
        assert_eq!(cluster.members(observer).expect("a status").len(), 3);
        assert_eq!(member(&cluster, observer, &before), None);
    }
    wait_until_written(&cluster, 1, "moved", "all");

    // The only seed that lived dies. A member starts again by another seed, and a newcomer finds the cluster by it.
    cluster.kill(1);
    wait_until_up_is(&cluster, &[2, 3], 1, false);
    assert_eq!(cluster.terminate(2), Some(0));
    let by_third = seeds(&cluster.peer_address(3));
    cluster.spawn_with(2, &[&by_third]);
    cluster.wait_until_ready(2);
    wait_until_up_is(&cluster, &[2], 3, true);
    cluster.spawn_with(4, &[&by_third]);
    cluster.wait_until_ready(4);
    wait_until_up_is(&cluster, &[2, 3], 4, true);
    // Its view is the cluster's, the dead seed included.
    wait_until("the newcomer knows all members", || {
        cluster.members(4).is_some_and(|members| members.len() == 4)
    });
    let cluster_id =
        |node| cluster.request("GET", node, "/admin/v1/status", None).json()["cluster_id"].clone();
    assert_eq!(cluster_id(4), cluster_id(2));
    wait_until_written(&cluster, 4, "newcomer", "quorum");
}

#[test]
fn nodes_that_wait_for_the_first_seed_name_it_and_form_one_cluster_with_it() {
    let cluster = TestCluster::stopped(3);
    let (first, second) = (cluster.peer_address(1), cluster.peer_address(2));
    let seeds = format!("cluster.seeds=[\"{first}\", \"{second}\"]");
    (2..=3).for_each(|number| cluster.spawn_with(number, &[&seeds]));
    let says = |reply: &Reply, what: &str| {
        reply.json()["detail"].as_str().is_some_and(|detail| detail.contains(what))
    };
    let waits = format!("only the first of the list, {first}, forms a new one, and it does not answer");
    for number in 2..=3 {
        wait_until(&format!("node {number} says for whom it waits"), || {
            let reply = cluster.try_request("GET", number, "/readyz", &[], None);
            reply.is_ok_and(|reply| reply.status == 503 && says(&reply, &waits))
        });
        let own = member(&cluster, number, &cluster.peer_address(number)).expect("itself");
        assert!(own["why"].as_str().is_some_and(|why| why.contains(&waits)), "{own}");
        let reply = cluster.request("GET", number, "/admin/v1/endpoints/default/key", None);
        assert_eq!((reply.status, says(&reply, &waits)), (503, true), "it knows no table yet");
        wait_until(&format!("node {number} warns of it"), || {
            let is_told = |line: &str| line.contains("WARN") && line.contains(&waits);
            cluster.log(number).lines().any(is_told)
        });
    }

    cluster.spawn_with(1, &[&seeds]);

    (1..=3).for_each(|number| cluster.wait_until_ready(number));
    (1..=3).for_each(|number| cluster.wait_until_seen_up(number, 3));
}

#[test]
fn clusters_that_are_pointed_at_each_other_stay_apart_and_say_so() {
    // Node 1 is one cluster, node 2 another of the same name that was formed apart, node 3 one of another name.
    let cluster = TestCluster::stopped(3);
    let address = |number| cluster.peer_address(number);
    let cluster_name = |number| if number == 3 { "cluster.name=another" } else { "cluster.name=one" };
    for number in 1..=3 {
        let alone = format!("cluster.seeds=[\"{}\"]", address(number));
        cluster.spawn_with(number, &[&alone, cluster_name(number)]);
        cluster.wait_until_ready(number);
        wait_until_written(&cluster, number, "own", "one");
        assert_eq!(cluster.terminate(number), Some(0));
    }
    let all = format!("cluster.seeds=[\"{}\", \"{}\", \"{}\"]", address(1), address(2), address(3));
    (1..=3).for_each(|number| cluster.spawn_with(number, &[&all, cluster_name(number)]));
    for number in 1..=3 {
        cluster.wait_until_ready(number);
        wait_until(&format!("node {number} tells of both strangers"), || {
            let log = cluster.log(number);
            (1..=3).filter(|other| *other != number).all(|other| {
                log.lines().any(|line| line.contains(&address(other)) && line.contains(" is not "))
            })
        });
    }
    assert!(cluster.log(1).contains("the two clusters were formed apart"));
    assert!(cluster.log(1).contains("cluster \"another\" is not"));
    for number in 1..=3 {
        wait_until(&format!("node {number} counts the strangers"), || {
            let page = cluster.request("GET", number, "/metrics", None).body;
            let page = String::from_utf8(page).expect("text");
            let count = page
                .lines()
                .find_map(|line| line.strip_prefix("helenus_peer_connections_total{result=\"refused\"} "));
            count.is_some_and(|count| count != "0")
        });
        assert_eq!(cluster.members(number).expect("a status").len(), 1);
        assert_eq!(put(&cluster, number, "still", "one").status, 200);
    }
}

/// No clock decides which change of a table is the last: not that of node 3, whoever makes it.
fn changes_the_schema_like_any_other(cluster: &TestCluster, table: &str) {
    let path = format!("/v1/tables/{table}");
    for (ttl, coordinator) in [(1, 3), (2, 1), (3, 3), (4, 2)] {
        let definition = format!(r#"{{"default_ttl": {ttl}}}"#);
        let reply = cluster.request("PUT", coordinator, &path, Some(definition.as_bytes()));
        assert!(reply.status == 200 || reply.status == 201, "{}", reply.json());
        assert_eq!(reply.json()["agreed"], true, "{}", reply.json());
        for observer in 1..=3 {
            assert_eq!(
                cluster.request("GET", observer, &path, None).json()["default_ttl"],
                ttl,
                "{observer}"
            );
        }
    }
}

#[test]
fn a_node_with_a_clock_an_hour_off_is_named_coordinates_no_writes_and_converges_as_a_replica() {
    let Some(library) = processes::faketime_library() else {
        eprintln!("skipped: libfaketime is not installed (apt-get install faketime)");
        return;
    };
    let cluster = TestCluster::stopped(3);
    (1..=2).for_each(|number| cluster.spawn(number));
    (1..=2).for_each(|number| cluster.wait_until_ready(number));
    for (clock, hour_us) in [("+1h", 3_600_000_000), ("-1h", -3_600_000_000_i64)] {
        cluster.spawn_with_clock(3, &library, clock);
        cluster.wait_until_ready(3);
        (1..=3).for_each(|number| cluster.wait_until_seen_up(number, 3));

        let mut problem = Value::Null;
        wait_until("it coordinates no writes", || {
            let reply = put(&cluster, 3, "refused", "one");
            problem = if reply.status == 503 { reply.json() } else { Value::Null };
            reply.status == 503
        });
        assert_eq!(
            (&problem["type"], &problem["outcome"]),
            (&"/problems/clock-skew".into(), &"not-applied".into())
        );

        // Both others have measured how far it is off, and named it when they first did.
        let status = cluster.request("GET", 3, "/admin/v1/gossip-info", None).json();
        let host_id = status["host_id"].as_str().expect("a text").to_owned();
        for observer in 1..=2 {
            wait_until(&format!("node {observer} measures {clock}"), || {
                let seen = cluster.request("GET", observer, "/admin/v1/gossip-info", None).json();
                let seen = seen["members"].as_array().expect("a list").clone();
                let member = seen.iter().find(|member| member["host_id"] == host_id.as_str());
                let offset = member.and_then(|member| member["peer"]["clock_offset_us"].as_i64());
                offset.is_some_and(|offset| (offset - hour_us).abs() < 60_000_000)
            });
            wait_until(&format!("node {observer} names it"), || {
                let log = cluster.log(observer);
                log.lines().any(|line| line.contains(&host_id) && line.contains("the clock of this peer"))
            });
        }
        assert!(cluster.log(3).contains("the clock of this node is off"));
        changes_the_schema_like_any_other(&cluster, &format!("by_clock_{}", hour_us > 0));

        // As a replica it takes what the others write, and reads go through it.
        let key = if hour_us > 0 { "ahead" } else { "behind" };
        wait_until_written(&cluster, 1, key, "all");
        let read = cluster.request("GET", 3, &format!("/v1/kv/default/{key}?consistency=one"), None);
        assert_eq!((read.status, read.body.as_slice()), (200, &b"v"[..]));
        cluster.kill(3);
    }
    // With the right time it writes again.
    cluster.spawn(3);
    cluster.wait_until_ready(3);
    wait_until_written(&cluster, 3, "again", "quorum");
}

#[test]
fn a_node_whose_seeds_belong_to_two_clusters_does_not_start_and_names_both() {
    let cluster = TestCluster::stopped(3);
    for number in 1..=2 {
        cluster.spawn_with(number, &[&format!("cluster.seeds=[\"{}\"]", cluster.peer_address(number))]);
        cluster.wait_until_ready(number);
    }

    let both = format!("cluster.seeds=[\"{}\", \"{}\"]", cluster.peer_address(1), cluster.peer_address(2));
    cluster.spawn_with(3, &[&both]);

    let why = cluster.wait_for_failure(3);
    for number in 1..=2 {
        let status = cluster.request("GET", number, "/admin/v1/status", None).json();
        let id = status["cluster_id"].as_str().expect("a text").to_owned();
        assert!(why.contains(&format!("{id} ({})", cluster.peer_address(number))), "{why}");
        assert_eq!(cluster.members(number).expect("a status").len(), 1, "it is listed by nobody");
    }
}
