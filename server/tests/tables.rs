//! Promise: tables are created, shown, changed and dropped by `/v1/tables` and `helenus table`, and whoever defines one
//! badly is told where.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::served_node::ServedNode;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_table_is_created_shown_changed_and_dropped() {
    let f = ServedNode::start().await;
    let body = json!({
        "replication": { "class": "simple", "factor": 1 },
        "default_read_consistency": "one",
        "default_write_consistency": "ALL",
        "default_ttl": 60,
        "tombstone_grace": 3600,
        "compaction": { "class": "time_window", "window": 3600 },
        "speculative_retry": "50ms",
        "compression": "lz4",
    });

    let created = f.ask("PUT", "/v1/tables/users", &body.to_string()).await;
    assert_eq!(created.status, 201, "{}", text(&created.body));
    assert_eq!((&created.json()["agreed"], &created.json()["down"]), (&json!(true), &json!(0)));
    let again = f.ask("PUT", "/v1/tables/users", &body.to_string()).await;
    assert_eq!((again.status, &again.json()), (200, &created.json()), "a no-op");

    let shown = f.ask("GET", "/v1/tables/users", "").await.json();
    for (field, value) in body.as_object().unwrap() {
        let expected = if field == "default_write_consistency" { &json!("all") } else { value };
        assert_eq!(&shown[field], expected, "{field}");
    }
    assert_eq!(shown["name"], "users");
    let listed = f.ask("GET", "/v1/tables", "").await.json();
    let names: Vec<_> = listed["tables"].as_array().unwrap().iter().map(|table| &table["name"]).collect();
    assert_eq!(names, ["default", "users"]);

    assert_eq!(f.ask("PUT", "/v1/kv/users/k", "v").await.status, 200);
    let value = f.ask("GET", "/v1/kv/users/k", "").await;
    assert!(value.header("helenus-ttl").parse::<u64>().unwrap() <= 60, "the table's time to live");
    assert!(value.header("helenus-consistency").starts_with("one;"), "the table's level");
    assert_eq!(f.ask("GET", "/v1/kv/default/k", "").await.status, 404, "another table");

    let changed = f.ask("PUT", "/v1/tables/users", "{}").await;
    assert_eq!(
        (changed.status, &changed.json()["default_ttl"]),
        (200, &json!(0)),
        "defaults where nothing is said"
    );
    let conflict =
        f.ask("PUT", "/v1/tables/users", r#"{"replication": {"class": "simple", "factor": 3}}"#).await;
    assert_eq!((conflict.status, &conflict.json()["type"]), (409, &json!("/problems/schema-conflict")));

    assert_eq!(f.ask("DELETE", "/v1/tables/users", "").await.status, 200);
    assert_eq!(f.ask("GET", "/v1/tables/users", "").await.status, 404);
    assert_eq!(f.ask("GET", "/v1/kv/users/k", "").await.json()["type"], "/problems/no-such-table");
    assert_eq!(f.ask("PUT", "/v1/tables/users", "").await.status, 201, "an empty body has only defaults");
    assert_eq!(f.ask("GET", "/v1/kv/users/k", "").await.json()["type"], "/problems/not-found");
}

#[tokio::test]
async fn a_dropped_table_gives_its_space_back() {
    let f = ServedNode::start().await;
    let sstables = || {
        let entries = std::fs::read_dir(f.node.directory.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "sst")).count()
    };
    for table in ["kept", "users"] {
        assert_eq!(f.ask("PUT", &format!("/v1/tables/{table}"), "").await.status, 201);
        assert_eq!(f.ask("PUT", &format!("/v1/kv/{table}/k"), "v").await.status, 200);
    }
    f.must(&["admin", "flush"]).await;
    let (before, tables) = (sstables(), f.node.engine.tables());

    assert_eq!(f.ask("DELETE", "/v1/tables/users", "").await.status, 200);

    assert_eq!(sstables(), before - 1);
    assert_eq!(f.node.engine.tables().len(), tables.len() - 1);
    assert_eq!(f.ask("GET", "/v1/kv/kept/k", "").await.body, b"v");
    assert_eq!(f.ask("PUT", "/v1/kv/users/k", "v").await.json()["type"], "/problems/no-such-table");
    f.must(&["admin", "flush"]).await;
    f.must(&["admin", "compact"]).await;
}

#[tokio::test]
async fn a_definition_that_makes_no_sense_is_refused_with_the_field() {
    let f = ServedNode::start().await;
    for (body, status, problem, field) in [
        ("[", 400, "bad-request", "body"),
        ("[]", 400, "bad-request", "body"),
        ("3", 400, "bad-request", "body"),
        ("\u{0}", 400, "bad-request", "body"),
        (r#"{"ttl": 3}"#, 400, "bad-request", "ttl"),
        (r#"{"replication": 3}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "none"}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple"}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple", "factor": 0}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple", "factor": -1}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple", "factor": 1.5}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple", "factor": 4294967296}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "simple", "factor": 1, "dc1": 2}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "network_topology"}}"#, 400, "bad-request", "replication"),
        (r#"{"replication": {"class": "network_topology", "": 1}}"#, 400, "bad-request", "replication"),
        (
            r#"{"replication": {"class": "network_topology", "nowhere": 1}}"#,
            400,
            "bad-request",
            "replication",
        ),
        (r#"{"default_read_consistency": "most"}"#, 400, "invalid-consistency", "default_read_consistency"),
        (r#"{"default_read_consistency": null}"#, 400, "bad-request", "default_read_consistency"),
        (r#"{"default_ttl": "1h"}"#, 400, "bad-request", "default_ttl"),
        (r#"{"default_ttl": 4000000000}"#, 400, "bad-request", "default_ttl"),
        (r#"{"tombstone_grace": -1}"#, 400, "bad-request", "tombstone_grace"),
        (r#"{"compaction": "unified"}"#, 400, "bad-request", "compaction"),
        (r#"{"compaction": {"class": "levelled"}}"#, 400, "bad-request", "compaction"),
        (
            r#"{"compaction": {"class": "unified", "scaling_parameters": "X9"}}"#,
            400,
            "bad-request",
            "compaction",
        ),
        (
            r#"{"compaction": {"class": "unified", "target_sstable_size": 1}}"#,
            400,
            "bad-request",
            "compaction",
        ),
        (r#"{"compaction": {"class": "time_window", "window": 0}}"#, 400, "bad-request", "compaction"),
        (r#"{"speculative_retry": 5}"#, 400, "bad-request", "speculative_retry"),
        (r#"{"speculative_retry": "p100"}"#, 400, "bad-request", "speculative_retry"),
        (r#"{"compression": 1}"#, 400, "bad-request", "compression"),
        (r#"{"compression": "zstd"}"#, 501, "not-implemented", "compression"),
    ] {
        let reply = f.ask("PUT", "/v1/tables/t", body).await;
        let told = reply.json();
        let found = (reply.status, told["type"].as_str().unwrap(), told["field"].as_str().unwrap());
        assert_eq!(found, (status, &*format!("/problems/{problem}"), field), "{body}: {told}");
    }
    let tables: Value = f.ask("GET", "/v1/tables", "").await.json();
    assert_eq!(tables["tables"].as_array().unwrap().len(), 1, "nothing was created");
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let f = ServedNode::start().await;
    let fails = async |arguments: &[&str]| {
        let output = f.run(arguments).await;
        (output.status.code(), text(&output.stderr))
    };

    let created = f
        .must(&["table", "create", "users", "--factor", "1", "--ttl", "1h", "--compaction", "time-window"])
        .await;
    assert_eq!(created, "created table users\n");
    let (status, why) = fails(&["table", "create", "users"]).await;
    assert!(status == Some(1) && why.contains("already"), "{why}");

    f.must(&["table", "alter", "users", "--read-consistency", "one"]).await;
    let shown = f.must(&["table", "describe", "users"]).await;
    for line in ["default_read_consistency   one", "default_ttl                3600", "W + R > N (1 + 1 > 1)"]
    {
        assert!(shown.contains(line), "{line:?} in\n{shown}");
    }
    assert!(shown.contains("time_window window=86400"), "{shown}");
    let listed = f.must(&["table", "list"]).await;
    assert!(listed.lines().any(|line| line.starts_with("users ") && line.contains("1h")), "{listed}");
    let json: Value = serde_json::from_str(&f.must(&["table", "list", "-o", "json"]).await).unwrap();
    assert_eq!(json["tables"].as_array().unwrap().len(), 2);

    let (status, why) = fails(&["table", "drop", "users"]).await;
    assert!(status == Some(2) && why.contains("--yes"), "{why}");
    assert_eq!(f.must(&["table", "drop", "users", "--yes"]).await, "dropped table users\n");
    let (status, why) = fails(&["table", "describe", "users"]).await;
    assert!(status == Some(1) && why.contains("no-such-table"), "{why}");
    let (status, _) = fails(&["table", "create", "Users"]).await;
    assert_eq!(status, Some(2));
    let (status, why) = fails(&["table", "create", "t", "--window", "1h", "--scaling", "T4"]).await;
    assert!(status == Some(2) && why.contains("--window"), "{why}");
    let (status, why) = fails(&["table", "create", "t", "--factor", "0"]).await;
    assert!(status == Some(2) && why.contains("at least 1"), "{why}");
}

#[tokio::test]
async fn a_member_that_is_said_twice_is_refused_at_any_depth() {
    let f = ServedNode::start().await;
    for (body, name) in [
        (r#"{"default_ttl": 60, "default_ttl": 0}"#, "`default_ttl`"),
        (r#"{"replication": {"class": "simple", "factor": 1, "factor": 1}}"#, "`factor`"),
    ] {
        let reply = f.ask("PUT", "/v1/tables/users", body).await;
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(reply.status == 400 && detail.contains(name), "{detail}");
    }
    assert_eq!(f.ask("GET", "/v1/tables/users", "").await.status, 404);
}

#[tokio::test]
async fn a_table_whose_grace_leaves_no_time_for_hints_says_so_wherever_it_is_shown() {
    let f = ServedNode::start().await;
    let created = f.run(&["table", "create", "short", "--tombstone-grace", "2m"]).await;
    assert!(created.status.success());
    assert!(text(&created.stderr).starts_with("warning: its tombstone grace of 120s"), "{created:?}");
    let described = f.must(&["table", "describe", "short"]).await;
    assert!(described.contains("\nwarning: its tombstone grace of 120s"), "{described}");
    let listed = f.ask("GET", "/v1/tables", "").await.json();
    let warnings: Vec<usize> = listed["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["warnings"].as_array().unwrap().len())
        .collect();
    assert_eq!(warnings, [0, 1], "default, short");

    let altered = f.run(&["table", "alter", "short", "--tombstone-grace", "121s"]).await;
    assert!(altered.status.success() && altered.stderr.is_empty(), "{altered:?}");
}
