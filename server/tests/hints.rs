//! Promise: what a node missed while it was down reaches it by hints alone, also when their keeper dies in between; and
//! operators see, stop and drop them.

mod processes;

use std::process::{Command, Output};

use processes::{TestCluster, wait_until};
use serde_json::Value;

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hints(cluster: &TestCluster, number: usize) -> Value {
    cluster.request("GET", number, "/admin/v1/hints", None).json()
}

fn pending(cluster: &TestCluster, number: usize) -> u64 {
    let hints = hints(cluster, number);
    let targets = hints["targets"].as_array().expect("a list");
    targets.iter().map(|target| target["hints"].as_u64().expect("a number")).sum()
}

fn put(cluster: &TestCluster, coordinator: usize, keys: std::ops::Range<u32>, level: &str) -> u16 {
    let mut status = 0;
    for number in keys {
        let path = format!("/v1/kv/default/key{number}?consistency={level}");
        status =
            cluster.request("PUT", coordinator, &path, Some(format!("value {number}").as_bytes())).status;
        assert!(matches!(status, 200 | 202), "{status}");
    }
    status
}

fn inspect(cluster: &TestCluster, number: usize, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args(["inspect", "hints"])
        .arg(cluster.data_directory(number))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Hints on disk, beside a running node: number, bytes and runs.
fn stored(cluster: &TestCluster, number: usize) -> (u64, u64, usize) {
    let page: Value = serde_json::from_str(&said(&inspect(cluster, number, &["-o", "json"]))).expect("JSON");
    let runs = page["runs"].as_array().expect("a list");
    let sum = |of: &str| runs.iter().map(|run| run[of].as_u64().expect("a number")).sum();
    (sum("hints"), sum("bytes"), runs.len())
}

fn wait_until_down(cluster: &TestCluster, observer: usize, number: usize) {
    wait_until("the death is known", || {
        cluster.members(observer).is_some_and(|members| {
            members.iter().any(|member| {
                member["address"] == cluster.peer_address(number).as_str() && member["up"] == false
            })
        })
    });
}

/// Writes of a node's absence.
const WRITES: u32 = 4000;

/// Clients at once.
const CLIENTS: u32 = 8;

/// Many clients write at a quorum; what is not acknowledged does not count.
fn load(cluster: &TestCluster, coordinator: usize, keys: std::ops::Range<u32>) -> Vec<u32> {
    std::thread::scope(|scope| {
        let client = |client: u32| {
            let keys = keys.clone().filter(move |number| number % CLIENTS == client);
            scope.spawn(move || {
                let written = keys.filter(|number| {
                    let path = format!("/v1/kv/default/key{number}?consistency=quorum");
                    let value = format!("value {number}");
                    let reply = cluster.try_request("PUT", coordinator, &path, &[], Some(value.as_bytes()));
                    reply.is_ok_and(|reply| reply.status == 200)
                });
                written.collect::<Vec<_>>()
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    })
}

#[test]
fn a_node_that_was_down_under_load_has_thousands_of_writes_though_their_keeper_was_killed_between() {
    let cluster = TestCluster::start(3);
    cluster.kill(3);
    wait_until_down(&cluster, 1, 3);

    // The keeper dies in the middle of the load, and comes back.
    let mut written = load(&cluster, 1, 0..WRITES / 2);
    let dying = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&cluster, 1, WRITES / 2..WRITES));
        wait_until("some of it is done", || pending(&cluster, 1) > u64::from(WRITES) / 2 + 100);
        cluster.kill(1);
        load.join().expect("it does not panic")
    });
    assert!(dying.len() < WRITES as usize / 2, "it died in between");
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    written.extend(dying);
    let kept = pending(&cluster, 1);
    assert!(kept >= written.len() as u64, "{kept} of {}", written.len());

    cluster.spawn(3);
    cluster.wait_until_seen_up(3, 3);
    wait_until("all are delivered", || pending(&cluster, 1) == 0);

    cluster.kill(1);
    cluster.kill(2);
    wait_until_down(&cluster, 3, 1);
    wait_until_down(&cluster, 3, 2);
    let lacks = |number: &&u32| {
        let reply = cluster.request("GET", 3, &format!("/v1/kv/default/key{number}?consistency=one"), None);
        (reply.status, reply.body) != (200, format!("value {number}").into_bytes())
    };
    let lacking: Vec<&u32> = written.iter().filter(lacks).collect();
    assert!(lacking.is_empty(), "it lacks {lacking:?}");
}

#[test]
fn a_node_that_was_down_catches_up_by_hints_alone() {
    let cluster = TestCluster::start(3);
    cluster.kill(3);
    wait_until_down(&cluster, 1, 3);
    put(&cluster, 1, 0..300, "quorum");
    wait_until("the hints are kept", || pending(&cluster, 1) == 300);
    let table = said(&cluster.admin(1, &["hints"]));
    assert!(table.contains("Host ID") && table.contains("300"), "{table}");
    let (in_log, bytes, runs) = stored(&cluster, 1);
    assert_eq!((in_log, runs), (300, 1), "all are in the commit log");
    assert!(bytes > 300 * 20, "{bytes}");
    assert_eq!(cluster.request("POST", 1, "/admin/v1/flush", None).status, 200);
    assert_eq!(stored(&cluster, 1), (300, bytes, 1), "all are in SSTables");
    put(&cluster, 1, 300..310, "quorum");
    wait_until("more are kept", || pending(&cluster, 1) == 310);
    assert_eq!(stored(&cluster, 1).0, 310, "some are here, some there");
    let target = hints(&cluster, 1)["targets"][0]["host_id"].as_str().expect("an id").to_owned();
    let table = said(&inspect(&cluster, 1, &[]));
    assert!(table.contains(&target) && table.contains("TO REPAIR"), "{table}");

    // They survive the death of their keeper.
    cluster.kill(1);
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(pending(&cluster, 1), 310);
    said(&cluster.admin(1, &["pause-handoff"]));
    cluster.spawn(3);
    cluster.wait_until_seen_up(1, 3);
    assert_eq!(pending(&cluster, 1), 310, "delivery is paused");
    said(&cluster.admin(1, &["resume-handoff"]));
    wait_until("all are delivered", || pending(&cluster, 1) == 0);

    // Nobody else is left to ask.
    cluster.kill(1);
    cluster.kill(2);
    wait_until_down(&cluster, 3, 1);
    wait_until_down(&cluster, 3, 2);
    for number in 0..300 {
        let reply = cluster.request("GET", 3, &format!("/v1/kv/default/key{number}?consistency=one"), None);
        assert_eq!((reply.status, reply.body), (200, format!("value {number}").into_bytes()));
    }

    // At level any a hint will do, and says so; what an operator drops has to be repaired.
    assert_eq!(put(&cluster, 3, 310..311, "any"), 200, "the node is a replica itself");
    wait_until("hints for the other two are kept", || pending(&cluster, 3) == 2);
    assert!(said(&cluster.admin(3, &["truncate-hints"])).contains("dropped 2 hints"));
    assert_eq!(pending(&cluster, 3), 0);
    let table = said(&cluster.admin(3, &["hints"]));
    assert!(table.contains("no hints") && table.contains("has to be repaired"), "{table}");
    let page = cluster.request("GET", 3, "/metrics", None).body;
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("helenus_repair_marks 2"), "{page}");
    assert!(page.contains("helenus_hints_total{outcome=\"kept\"} 2"), "{page}");
    let page: Value = serde_json::from_str(&said(&inspect(&cluster, 3, &["-o", "json"]))).expect("JSON");
    let marks = page["marks"].as_array().expect("a list");
    assert_eq!(
        marks.iter().map(|mark| mark["hints"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(1)],
        "{page}"
    );

    // Once they were repaired, an operator says so.
    assert!(said(&cluster.admin(3, &["truncate-hints", "--marks"])).contains("forgot 2 repair marks"));
    assert!(!said(&cluster.admin(3, &["hints"])).contains("has to be repaired"));

    // A damaged file is named, and the rest is shown.
    cluster.kill(3);
    let log = std::fs::read_dir(cluster.data_directory(3)).expect("a directory");
    let log = log.map(|entry| entry.expect("readable").path());
    let mut log: Vec<_> = log.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    log.sort();
    let first = log.first().expect("a segment");
    std::fs::write(first, b"not a segment").expect("it is ours");
    let output = inspect(&cluster, 3, &[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = first.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(output.status.code() == Some(1) && told.contains(&name), "{told}");
    assert_eq!(told.matches(&name).count(), 1, "named once: {told}");
    assert!(!output.stdout.is_empty(), "the rest is shown");
}
