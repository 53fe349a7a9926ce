//! Promise: with the cable between two datacenters pulled, each works on by itself at local levels, the others say what is
//! missing where, and after it is back hints alone make all replicas equal.

mod processes;

use processes::{TestCluster, namespaces::Namespaces, wait_until};

const KEYS: usize = 50;

#[test]
fn datacenters_that_are_cut_apart_work_on_and_meet_again() {
    let namespaces = match Namespaces::create() {
        Ok(namespaces) => namespaces,
        Err(why) => {
            eprintln!("SKIPPED: network namespaces are not permitted here: {why}");
            return;
        }
    };
    let cluster = TestCluster::in_two_namespaces(6, namespaces);
    for number in 1..=6 {
        let admin = format!("admin.listen=\"127.0.0.{number}:7070\"");
        let settings = ["snitch.kind=rack-inferring", "cluster.default_replication={1=3,2=3}", &admin];
        cluster.spawn_with(number, &settings);
    }
    for number in 1..=6 {
        cluster.wait_until_ready(number);
        cluster.wait_until_seen_up(number, 6);
    }
    wait_until("a write at all is possible", || put(&cluster, 1, "before", "all").0 == 200);

    cluster.namespaces().cut();

    for number in 1..=6 {
        cluster.wait_until_seen_up(number, 3);
    }
    for number in 0..KEYS {
        assert_eq!(put(&cluster, 1, &format!("first{number}"), "local_quorum").0, 200);
        assert_eq!(put(&cluster, 2, &format!("second{number}"), "local_quorum").0, 200);
    }
    for (coordinator, other) in [(3, 2), (4, 1)] {
        let (status, problem) = put(&cluster, coordinator, "refused", "each_quorum");
        assert_eq!((status, &problem["outcome"]), (503, &"not-applied".into()), "{problem}");
        assert_eq!((&problem["required"], &problem["alive"]), (&4.into(), &3.into()), "{problem}");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(&format!("in datacenter {other} it requires 2 and 0 are alive")), "{detail}");
        let (status, problem) = put(&cluster, coordinator, "refused", "all");
        assert_eq!((status, &problem["outcome"]), (503, &"not-applied".into()), "{problem}");
        assert_eq!((&problem["required"], &problem["alive"]), (&6.into(), &3.into()), "{problem}");
    }

    cluster.namespaces().heal();

    for number in 1..=6 {
        cluster.wait_until_seen_up(number, 6);
    }
    wait_until("all hints are delivered", || (1..=6).all(|number| pending(&cluster, number) == 0));
    let before: f64 = (1..=6).map(|number| mismatches(&cluster, number)).sum();
    for number in 0..KEYS {
        for key in [format!("first{number}"), format!("second{number}")] {
            let path = format!("/v1/kv/default/{key}?consistency=all");
            // Connections that the cut has broken may show it only now.
            wait_until("all replicas answer", || {
                let reply = cluster.request("GET", 1 + number % 6, &path, None);
                (reply.status, reply.body) == (200, b"value".to_vec())
            });
        }
    }
    let after: f64 = (1..=6).map(|number| mismatches(&cluster, number)).sum();
    assert!((after - before).abs() < 0.5, "no read had anything to repair");
}

fn put(cluster: &TestCluster, coordinator: usize, key: &str, level: &str) -> (u16, serde_json::Value) {
    let path = format!("/v1/kv/default/{key}?consistency={level}");
    let reply = cluster.request("PUT", coordinator, &path, Some(b"value"));
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

fn pending(cluster: &TestCluster, number: usize) -> u64 {
    let hints = cluster.request("GET", number, "/admin/v1/hints", None).json();
    let targets = hints["targets"].as_array().expect("a list");
    targets.iter().map(|target| target["hints"].as_u64().expect("a number")).sum()
}

fn mismatches(cluster: &TestCluster, number: usize) -> f64 {
    let page = cluster.request("GET", number, "/metrics", None).body;
    let page = String::from_utf8(page).expect("text");
    let name = "helenus_coordinator_digest_mismatches_total ";
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}
