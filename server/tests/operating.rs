//! Promise: an operator looks at a node, has it work on its storage, changes it while it runs and drains it, whoever else
//! is dead; what takes long is a task that one can list, watch and cancel.

mod processes;

use std::fs;

use processes::{TestCluster, wait_until};
use serde_json::Value;

/// What a command prints, which must succeed.
fn shown(cluster: &TestCluster, arguments: &[&str]) -> String {
    let output = cluster.admin(1, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What it prints for programs.
fn told(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let text = shown(cluster, &[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// What a command complains about, and its status.
fn refused(cluster: &TestCluster, arguments: &[&str]) -> (Option<i32>, String) {
    let output = cluster.admin(1, arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Three nodes with some data, of which the third is dead, and known to be.
fn with_a_dead_node() -> TestCluster {
    let cluster = TestCluster::start(3);
    for number in 0..20 {
        let key = format!("/v1/kv/default/k{number}");
        let all = format!("{key}?consistency=all");
        assert_eq!(cluster.request("PUT", 1, &all, Some(&[b'v'; 300])).status, 200);
        assert_eq!(cluster.request("GET", 1, &key, None).status, 200);
    }
    assert_eq!(cluster.request("DELETE", 1, "/v1/kv/default/k0?consistency=all", None).status, 200);
    cluster.kill(3);
    wait_until("its death is known", || {
        let detector = cluster.request("GET", 1, "/admin/v1/failure-detector", None).json();
        detector["peers"].as_array().is_some_and(|peers| peers.iter().any(|peer| peer["belief"] == "dead"))
    });
    cluster
}

#[test]
fn an_operator_looks_at_a_node_and_changes_it_with_another_one_dead() {
    let cluster = with_a_dead_node();
    numbers(&cluster);
    tasks(&cluster);
    snapshots(&cluster);
    settings(&cluster);
    log_level(&cluster);
    misuse(&cluster);
}

fn numbers(cluster: &TestCluster) {
    shown(cluster, &["flush"]);
    let stats = told(cluster, &["table-stats", "default"]);
    let table = &stats["tables"][0];
    assert_eq!((&table["name"], &table["sstables"]), (&"default".into(), &1.into()), "{stats}");
    assert_eq!((&table["records"], &table["tombstones"]), (&20.into(), &1.into()), "{stats}");
    assert_eq!(table["levels"][0]["level"], 0, "{stats}");
    assert_eq!(table["local_writes"], 21, "{stats}");
    assert!(table["local_reads"].as_u64().is_some_and(|reads| reads >= 1), "{stats}");
    let text = shown(cluster, &["table-stats"]);
    for line in [
        "Total number of tables: 1",
        "Table: default",
        "    SSTable count: 1",
        "    SSTables in each level: [L0: 1]",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
    // Nobody has read from the others.
    assert!(!text.contains("NaN") && !text.contains('\t'), "{text}");

    let histograms = told(cluster, &["histograms", "default"]);
    assert!(histograms["percentiles"]["99"]["write_us"].is_u64(), "{histograms}");
    let coordinated = told(cluster, &["histograms"]);
    assert_eq!(coordinated["operations"]["put"]["requests"], 20, "{coordinated}");
    for arguments in [&["histograms"][..], &["histograms", "default"]] {
        let text = shown(cluster, arguments);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("Percentile  Read Latency  Write Latency"), "{text}");
        let names: Vec<_> = lines[3..].iter().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["50%", "75%", "95%", "98%", "99%", "Min", "Max"], "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    }

    let stats = told(cluster, &["compaction-stats"]);
    assert_eq!((&stats["pending_bytes"], &stats["compactions"]), (&0.into(), &Value::Array(Vec::new())));
    let text = shown(cluster, &["compaction-stats"]);
    assert!(text.contains("Active compaction remaining time : n/a"), "{text}");
}

fn tasks(cluster: &TestCluster) {
    // One block a second at most: it is under way until it is cancelled.
    let mut value = vec![0; 1 << 20];
    value
        .iter_mut()
        .zip(0_u32..)
        .for_each(|(byte, number)| *byte = (number.wrapping_mul(2_654_435_761) >> 24) as u8);
    for number in 0..16 {
        assert_eq!(
            cluster.request("PUT", 1, &format!("/v1/kv/default/large{number}"), Some(&value)).status,
            200
        );
    }
    shown(cluster, &["flush"]);
    let begun = told(cluster, &["scrub", "--mib-per-second", "1", "--detach"]);
    assert_eq!((&begun["kind"], &begun["state"]), (&"scrub".into(), &"running".into()), "{begun}");
    let id = begun["id"].to_string();

    let listed = told(cluster, &["tasks", "list"]);
    let listed = listed["tasks"].as_array().expect("a list");
    assert!(listed.iter().any(|task| task["id"] == begun["id"]), "{listed:?}");
    assert!(listed.iter().any(|task| task["kind"] == "flush" && task["state"] == "done"), "{listed:?}");
    let text = shown(cluster, &["tasks", "list"]);
    assert!(text.starts_with("ID  TASK"), "{text}");

    assert!(shown(cluster, &["tasks", "cancel", &id]).contains("will end"));
    let (status, said) = refused(cluster, &["tasks", "watch", &id]);
    assert_eq!(status, Some(1));
    assert!(said.contains("was cancelled"), "{said}");
    let (status, said) = refused(cluster, &["tasks", "cancel", &id]);
    assert!(status == Some(1) && said.contains("has ended"), "{said}");
    assert!(refused(cluster, &["tasks", "watch", "4711"]).1.contains("no-such-task"));

    let verified = shown(cluster, &["scrub", "--mib-per-second", "1000"]);
    assert!(verified.starts_with("verified "), "{verified}");
    let compacted = told(cluster, &["compact", "default"]);
    assert_eq!((&compacted["state"], &compacted["problem"]), (&"done".into(), &Value::Null), "{compacted}");
    assert_eq!(told(cluster, &["table-stats"])["tables"][0]["sstables"], 1);
}

fn snapshots(cluster: &TestCluster) {
    let long = "s".repeat(64);
    shown(cluster, &["snapshot", "create", &long]);
    for command in [["snapshot", "list"], ["tasks", "list"]] {
        let text = shown(cluster, &command);
        assert!(text.contains("ss…ss"), "the name is cut in its middle:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(told(cluster, &command).to_string().contains(&long), "programs have all of it");
    }
    shown(cluster, &["snapshot", "clear", &long]);
    assert!(shown(cluster, &["snapshot", "create", "one"]).starts_with("made snapshot one: "));
    assert_eq!(told(cluster, &["snapshot", "list"])["snapshots"][0]["name"], "one");
    assert!(refused(cluster, &["snapshot", "create", "one"]).1.contains("conflict (409)"));
    assert_eq!(told(cluster, &["snapshot", "clear", "one"])["cleared"], "one");
}

fn settings(cluster: &TestCluster) {
    let value = |name: &str| {
        let listed = told(cluster, &["settings", "list"]);
        let found = listed["settings"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        found.map(|one| (one["value"].clone(), one["is_changed"].clone())).expect("it is listed")
    };
    assert_eq!(value("coordinator.read_timeout"), ("5s".into(), false.into()));
    shown(cluster, &["settings", "set", "coordinator.read_timeout", "50ms"]);
    assert_eq!(value("coordinator.read_timeout"), ("50ms".into(), true.into()));
    shown(cluster, &["settings", "set", "storage.compaction_throughput", "8MiB"]);
    assert_eq!(told(cluster, &["compaction-stats"])["throughput_bytes_per_second"], 8 << 20);

    let (status, said) = refused(cluster, &["settings", "set", "coordinator.read_timeout", "never"]);
    assert!(status == Some(2) && said.contains("field value"), "{said}");
    assert!(
        said.starts_with("error: bad-request (400): wrong value for `coordinator.read_timeout`: expected "),
        "the setting is named, and no command line that nobody wrote: {said}"
    );
    let (status, said) = refused(cluster, &["settings", "set", "node.rack", "r2"]);
    assert!(
        status == Some(2) && said.contains("coordinator.read_timeout"),
        "it names what can be set: {said}"
    );

    assert_eq!(cluster.terminate(1), Some(0));
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(value("coordinator.read_timeout"), ("50ms".into(), true.into()), "it is kept");
    assert_eq!(told(cluster, &["compaction-stats"])["throughput_bytes_per_second"], 8 << 20);
    shown(cluster, &["settings", "reset", "coordinator.read_timeout"]);
    assert_eq!(value("coordinator.read_timeout"), ("5s".into(), false.into()));
}

#[test]
fn a_node_does_not_start_without_the_settings_that_it_was_given() {
    let cluster = TestCluster::start(1);
    shown(&cluster, &["settings", "set", "coordinator.read_timeout", "50ms"]);
    assert_eq!(cluster.terminate(1), Some(0));
    let file = cluster.data_directory(1).join("live-settings");
    let sound = fs::read(&file).expect("it is kept");
    for (what, bytes) in [
        ("cut off", &sound[..sound.len() / 2]),
        ("cut off", b"".as_slice()),
        ("changed by hand", &String::from_utf8_lossy(&sound).replace("50ms", "90ms").into_bytes()),
        ("none of ours", b"coordinator.read_timeout=50ms\n"),
        ("not text", b"\xff\xfe\0"),
    ] {
        fs::write(&file, bytes).expect("damage");
        cluster.spawn(1);
        let said = cluster.wait_for_failure(1);
        assert!(
            said.contains("live-settings") && said.contains(what) && said.contains("move it away"),
            "{said}"
        );
    }
    fs::write(&file, sound).expect("mended");
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    let listed = shown(&cluster, &["settings", "list"]);
    let line = listed.lines().find(|line| line.starts_with("coordinator.read_timeout")).unwrap_or(&listed);
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words, ["coordinator.read_timeout", "50ms", "settings", "5s"]);
}

fn log_level(cluster: &TestCluster) {
    let seen = |cluster: &TestCluster| cluster.log(1).matches("request_id").count();
    assert_eq!(seen(cluster), 0);
    shown(cluster, &["set-log-level", "debug", "--target", "helenus_server"]);
    cluster.request("GET", 1, "/livez", None);
    wait_until("requests are logged", || seen(cluster) > 0);
    let filter = told(cluster, &["set-log-level", "off", "--target", "helenus_server"]);
    assert!(filter["filter"].as_str().is_some_and(|text| text.ends_with("helenus_server=off")), "{filter}");

    let shown_filter = || {
        let listed = told(cluster, &["settings", "list"]);
        let found =
            listed["settings"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "log.filter"));
        found.map(|one| (one["value"].clone(), one["source"].clone())).expect("it is listed")
    };
    assert_eq!(shown_filter(), (filter["filter"].clone(), "log-level".into()), "what holds is shown");
    shown(cluster, &["settings", "set", "log.filter", "warn"]);
    assert_eq!(shown_filter(), ("warn".into(), "settings".into()));
    assert_eq!(told(cluster, &["set-log-level", "debug"])["filter"], "debug");
    assert_eq!(shown_filter(), ("debug".into(), "log-level".into()));
    shown(cluster, &["settings", "reset", "log.filter"]);
    assert_eq!(shown_filter(), ("info".into(), "default".into()));
}

fn misuse(cluster: &TestCluster) {
    for arguments in [
        &["table-stats", "No"][..],
        &["compaction-stats", "x"],
        &["histograms", "a", "b"],
        &["tasks"],
        &["tasks", "watch", "x"],
        &["settings", "set", "rack"],
        &["set-log-level", "loud"],
        &["drain", "now"],
        &["scrub", "--mib-per-second", "0"],
        &["snapshot", "create", "a/b"],
        &["snapshot", "create", &"a".repeat(65)],
        &["settings", "set", "coordinator.read_timeout", "-5s"],
        &["settings", "set", "log.filter", "==="],
        &["settings", "reset", "node.rack"],
        &["set-log-level", "debug", "--target", "a/b"],
        &["assassinate", "5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d"],
    ] {
        let (status, said) = refused(cluster, arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("--help") || said.contains("Usage"), "{arguments:?} gets a hint: {said}");
    }
    let (status, said) = refused(cluster, &["histograms", "none"]);
    assert!(status == Some(1) && said.contains("no-such-table (404)"), "{said}");
}

#[test]
fn a_drained_node_takes_no_requests_and_has_nothing_left_to_replay() {
    let cluster = with_a_dead_node();
    let said = shown(&cluster, &["drain"]);
    assert!(said.starts_with("drained: "), "{said}");

    assert_eq!(cluster.request("GET", 1, "/readyz", None).json()["type"], "/problems/draining");
    assert_eq!(cluster.request("GET", 1, "/livez", None).status, 200);
    for (method, body) in [("PUT", Some(&b"v"[..])), ("GET", None)] {
        assert_eq!(cluster.request(method, 1, "/v1/kv/default/k", body).json()["type"], "/problems/draining");
    }
    // Nor changes of the schema, which nobody would hear of before it is back.
    for (method, body) in [("PUT", Some(&b"{}"[..])), ("DELETE", None)] {
        let reply = cluster.request(method, 1, "/v1/tables/late", body);
        assert_eq!(
            (reply.status, reply.json()["type"].clone()),
            (503, "/problems/draining".into()),
            "{method}"
        );
    }

    // Of the others it hears no more, and claims to know nothing of who is up.
    let members = cluster.members(1).expect("its members");
    assert!(members.iter().all(|member| member["up"].is_null()), "{members:?}");
    let status = shown(&cluster, &["status"]);
    assert_eq!(status.lines().filter(|line| line.starts_with("?N ")).count(), members.len(), "{status}");
    assert!(status.contains(": it is drained and takes no part in the cluster"), "{status}");
    assert_eq!(told(&cluster, &["failure-detector"])["peers"], Value::Array(Vec::new()));
    let metrics = cluster.request("GET", 1, "/metrics", None).body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(
        metrics.contains(&format!("helenus_members{{state=\"unknown\"}} {}\n", members.len())),
        "{metrics}"
    );
    assert!(!metrics.contains("helenus_peer_phi{") && metrics.contains("helenus_members{state=\"up\"} 0\n"));

    let stats = told(&cluster, &["table-stats", "default"]);
    let table = &stats["tables"][0];
    assert_eq!((&table["records"], &table["memtable_bytes"]), (&20.into(), &0.into()), "{stats}");
    let (_, said) = refused(&cluster, &["tasks", "cancel", "1"]);
    assert!(said.contains("has ended"), "{said}");
    wait_until("the other one takes it for dead", || {
        cluster.members(2).is_some_and(|all| all.iter().filter(|member| member["up"] == true).count() == 1)
    });

    assert_eq!(cluster.terminate(1), Some(0));
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(cluster.request("GET", 1, "/v1/kv/default/k1?consistency=one", None).status, 200);
}

#[test]
fn the_log_names_the_places_that_a_scrub_finds_damaged() {
    let cluster = TestCluster::start(1);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k", Some(&[b'v'; 5000])).status, 200);
    shown(&cluster, &["flush"]);
    let files = fs::read_dir(cluster.data_directory(1)).expect("a directory");
    let tables = files
        .map(|file| file.expect("a file").path())
        .filter(|it| it.extension().is_some_and(|e| e == "sst"));
    let largest = tables.max_by_key(|table| table.metadata().expect("it is there").len()).expect("a table");
    let mut bytes = fs::read(&largest).expect("readable");
    bytes[10] ^= 1;
    fs::write(&largest, bytes).expect("writable");

    assert_eq!(refused(&cluster, &["scrub"]).0, Some(1));
    let named = format!("damage={} is damaged at offset 0", largest.display());
    wait_until("the log tells of it", || cluster.log(1).contains("a task is done id=2 task=\"scrub\""));
    let log = cluster.log(1);
    let line = log.lines().find(|line| line.contains(&named));
    assert!(line.is_some_and(|line| line.contains(" ERROR ") && line.contains(" id=2 ")), "{log}");
}
