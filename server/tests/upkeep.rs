//! Promise: operators have a node flush, compact and make snapshots by `/admin/v1` and `helenus admin`, and a snapshot can
//! be opened.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use helenus_storage::{Engine, Options, disk::OsDisk};
use support::{Client, served_node::ServedNode};

#[tokio::test]
async fn what_is_flushed_and_compacted_is_in_one_table_and_still_there() {
    let f = ServedNode::start().await;
    for round in 0..3 {
        assert_eq!(f.ask("PUT", "/v1/kv/default/k", &round.to_string()).await.status, 200);
        assert_eq!(f.must(&["admin", "flush", "default"]).await, "flushed table default\n");
    }
    assert!(f.node.engine.counters().flushes >= 3);

    assert_eq!(f.must(&["admin", "compact", "default"]).await, "compacted table default\n");
    assert_eq!(f.must(&["admin", "flush"]).await, "flushed all tables\n");
    assert!(f.node.engine.counters().compactions >= 1);
    assert_eq!(f.ask("GET", "/v1/kv/default/k", "").await.body, b"2");
}

#[tokio::test]
async fn a_snapshot_holds_what_was_there_and_can_be_opened() {
    let f = ServedNode::start().await;
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", "before").await.status, 200);
    let made = f.must(&["admin", "snapshot", "create", "one"]).await;
    let directory = made.trim_start_matches("made snapshot one: ").trim().to_owned();
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", "after").await.status, 200);

    let listed = f.must(&["admin", "snapshot", "list"]).await;
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("one ")), "{listed}");
    let engine = Engine::open(Arc::new(OsDisk), Path::new(&directory), Options::default()).unwrap();
    let table = helenus_cluster::table::DEFAULT_TABLE_ID;
    let records = engine.scan(table, (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded), 9).unwrap();
    let [(_, record)] = &records[..] else { panic!("{records:?}") };
    assert!(record.value().unwrap().ends_with(b"before"), "{record:?}");
    engine.close().unwrap();

    let twice = f.run(&["admin", "snapshot", "create", "one"]).await;
    assert_eq!(twice.status.code(), Some(1));
    assert_eq!(f.must(&["admin", "snapshot", "clear", "one"]).await, "removed snapshot one\n");
    assert!(!Path::new(&directory).exists());
}

#[tokio::test]
async fn a_scrub_names_what_has_rotted() {
    let f = ServedNode::start().await;
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", &"v".repeat(5000)).await.status, 200);
    f.must(&["admin", "flush"]).await;
    let sound = f.must(&["admin", "scrub", "--mib-per-second", "1000"]).await;
    assert!(sound.starts_with("verified "), "{sound}");

    let data = f.node.directory.path();
    let tables = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let largest = tables.filter(|path| path.extension().is_some_and(|e| e == "sst"));
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&largest, bytes).unwrap();

    // Of the two scrubs, the second is task 3.
    for command in [&["admin", "scrub"][..], &["admin", "tasks", "watch", "3"]] {
        let rotten = f.run(command).await;
        let said = String::from_utf8_lossy(&rotten.stderr).into_owned();
        assert_eq!(rotten.status.code(), Some(1), "{said}");
        assert!(said.contains(&*largest.file_name().unwrap().to_string_lossy()), "{said}");
        assert!(said.contains("1 place is damaged"), "{said}");
    }
    let listed = f.must(&["admin", "tasks", "list"]).await;
    assert!(listed.contains(" done, DAMAGE "), "{listed}");
    assert_eq!(f.node.engine.counters().scrub_damages, 1);
}

#[tokio::test]
async fn a_compaction_that_meets_damage_names_it_and_the_table_goes_on_serving() {
    let f = ServedNode::start().await;
    for key in ["rotten", "sound"] {
        assert_eq!(f.ask("PUT", &format!("/v1/kv/default/{key}"), "v").await.status, 200);
        f.must(&["admin", "flush", "default"]).await;
    }
    // The first block of the file that was written first.
    let tables = std::fs::read_dir(f.node.directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_of_default = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "sst")
            && std::fs::read(path).unwrap().windows(6).any(|bytes| bytes == b"rotten")
    };
    let [rotten] = &tables.filter(is_of_default).collect::<Vec<_>>()[..] else { panic!("one has it") };
    let file = std::fs::File::options().read(true).write(true).open(rotten).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 10).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 10).unwrap();

    let failed = f.run(&["admin", "compact", "default"]).await;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    let damage = format!("{} is damaged at offset 0: ", rotten.display());
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("storage-damaged (500)") && said.contains(&damage), "{said}");
    let tasks = f.ask("GET", "/admin/v1/tasks", "").await.json();
    let task = &tasks["tasks"][2];
    assert_eq!((&task["kind"], &task["state"]), (&"compact".into(), &"failed".into()), "{task}");
    assert_eq!(task["problem"]["type"], "/problems/storage-damaged");
    assert!(task["problem"]["detail"].as_str().unwrap().starts_with(&damage), "{task}");

    assert_eq!(f.ask("GET", "/v1/kv/default/sound", "").await.body, b"v");
    assert_eq!(f.ask("PUT", "/v1/kv/default/rotten", "again").await.status, 200);
    assert_eq!(f.ask("GET", "/v1/kv/default/rotten", "").await.body, b"again");
}

#[tokio::test]
async fn a_reply_that_does_not_wait_for_the_end_of_the_body_says_that_the_connection_ends() {
    let f = ServedNode::start().await;
    let pause = |rest: &str| format!("POST /admin/v1/hints/pause HTTP/1.1\r\nHost: h\r\n{rest}");
    let mut client = Client::connect(f.address()).await;
    for _ in 0..2 {
        let reply = client.send(pause("Content-Length: 0\r\n\r\n")).await.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, ""), "{reply:?}");
    }
    // Its empty chunk is on its way.
    let reply = client.send(pause("Transfer-Encoding: chunked\r\n\r\n")).await.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (200, "close"), "{reply:?}");
    assert_eq!(client.send("0\r\n\r\n").await.closed().await, "");
}

#[tokio::test]
async fn nonsense_is_refused_and_named() {
    let f = ServedNode::start().await;
    for (method, target, status, problem, field) in [
        ("POST", "/admin/v1/flush?table=none", 404, "no-such-table", "table"),
        ("POST", "/admin/v1/flush?table=No", 400, "bad-request", "table"),
        ("POST", "/admin/v1/flush?x=1", 400, "bad-request", "x"),
        ("POST", "/admin/v1/scrub?mib_per_second=0", 400, "bad-request", "mib_per_second"),
        ("POST", "/admin/v1/compact?table=none", 404, "no-such-table", "table"),
        ("POST", "/admin/v1/snapshots/.x", 400, "bad-request", "name"),
        ("POST", "/admin/v1/snapshots/a%2Fb", 400, "bad-request", "name"),
        ("DELETE", "/admin/v1/snapshots/none", 404, "no-such-snapshot", "name"),
        ("GET", "/admin/v1/snapshots?x=1", 400, "bad-request", "x"),
    ] {
        let reply = f.ask(method, target, "").await;
        let told = reply.json();
        let found = (reply.status, told["type"].as_str().unwrap(), told["field"].as_str().unwrap());
        assert_eq!(found, (status, &*format!("/problems/{problem}"), field), "{method} {target}: {told}");
    }
    assert_eq!(f.ask("GET", "/admin/v1/flush", "").await.status, 405);
    for arguments in [&["admin", "snapshot", "create", "a/b"][..], &["admin", "flush", "No"]] {
        assert_eq!(f.run(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_no_task_could_do_is_refused_before_one_begins() {
    let f = ServedNode::start().await;
    for (method, target, status, field) in [
        ("POST", "/admin/v1/flush?table=nope&wait_ms=0", 404, "table"),
        ("POST", "/admin/v1/compact?table=nope&wait_ms=0", 404, "table"),
        ("POST", "/admin/v1/snapshots/%1b%5B2J?wait_ms=0", 400, "name"),
        ("POST", "/admin/v1/snapshots/.hidden?wait_ms=0", 400, "name"),
        ("DELETE", "/admin/v1/hints?target=5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d", 404, "target"),
        ("DELETE", "/admin/v1/hints/marks?target=5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d", 404, "target"),
    ] {
        let reply = f.ask(method, target, "").await;
        let problem = reply.json();
        assert_eq!((reply.status, problem["field"].as_str()), (status, Some(field)), "{target}: {problem}");
    }
    assert_eq!(f.ask("GET", "/admin/v1/tasks", "").await.json(), serde_json::json!({ "tasks": [] }));
    let own = f.node.node.host_id();
    assert_eq!(f.ask("DELETE", &format!("/admin/v1/hints?target={own}"), "").await.status, 200);
}

#[tokio::test]
async fn a_drain_finds_room_among_any_number_of_tasks_and_ends_merges() {
    let f = ServedNode::start().await;
    for value in ["first", "second"] {
        assert_eq!(f.ask("PUT", "/v1/kv/default/k", value).await.status, 200);
        f.must(&["admin", "flush", "default"]).await;
    }
    // At which no merge is done before tomorrow.
    f.node.engine.set_compaction_throughput(1);
    for _ in 0..16 {
        assert_eq!(f.ask("POST", "/admin/v1/compact?table=default&wait_ms=0", "").await.status, 202);
    }
    let tasks =
        || async { f.ask("GET", "/admin/v1/tasks", "").await.json()["tasks"].as_array().unwrap().clone() };
    loop {
        let queued = tasks().await.iter().filter(|task| task["state"] == "queued").count();
        if queued == 15 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let listed = tasks().await;
    for target in ["/admin/v1/flush?wait_ms=0", "/admin/v1/scrub?wait_ms=0", "/admin/v1/snapshots/one"] {
        let refused = f.ask("POST", target, "").await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (503, &"/problems/overloaded".into()),
            "{target}"
        );
    }
    let ids = |tasks: &[serde_json::Value]| tasks.iter().map(|task| task["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&tasks().await), ids(&listed), "what was refused is no task");

    let drained = f.must(&["admin", "drain"]).await;
    assert!(drained.ends_with("it can be stopped\n"), "{drained}");
    assert!(f.node.engine.compactions().is_empty());
    for task in &listed[2..] {
        let path = format!("/admin/v1/tasks/{}?wait_ms=30000", task["id"]);
        let ended = f.ask("GET", &path, "").await.json();
        assert_eq!(ended["problem"]["type"], "/problems/draining", "{ended}");
    }
    let again = f.ask("POST", "/admin/v1/compact", "").await;
    assert_eq!((again.status, &again.json()["type"]), (503, &"/problems/draining".into()));
    f.must(&["admin", "flush"]).await;
    f.must(&["admin", "snapshot", "create", "drained"]).await;
}

#[tokio::test]
async fn a_task_that_is_done_shows_that_all_is() {
    let f = ServedNode::start().await;
    let nothing = f.must(&["admin", "scrub"]).await;
    assert!(nothing.starts_with("verified "), "{nothing}");
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", &"v".repeat(5000)).await.status, 200);
    f.must(&["admin", "flush"]).await;
    f.must(&["admin", "scrub", "--mib-per-second", "1000"]).await;

    let listed = f.must(&["admin", "tasks", "list"]).await;
    assert_eq!(listed.matches(" 100% ").count(), 3, "{listed}");
}
