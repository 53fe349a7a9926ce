//! Replies carry what the API promises: values as they came, what is known of them, and errors a client can act on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use helenus_cluster::{
    consistency::Consistency, error::RequestError, message::ReplicaError, node::Readiness,
};
use helenus_server::http::Surface;
use helenus_storage::{Record, Timestamp};
use serde_json::json;
use support::{
    Client, Reply, ask,
    scripted::{HOST, NOW, Scripted, Served, serve, serve_starting},
    single_node::SingleNode,
};
use tokio::time::Instant;

struct Fixture {
    node: Arc<Scripted>,
    served: Served,
}

impl Fixture {
    async fn new() -> Self {
        let node = Arc::new(Scripted::default());
        let served = serve(Arc::clone(&node) as _, Surface::Both).await;
        Self { node, served }
    }

    async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {length}\r\n\r\n");
        ask(self.served.address, head + body).await
    }

    async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "", "").await
    }
}

#[tokio::test]
async fn a_value_comes_back_as_it_came() {
    let f = Fixture::new().await;
    let headers = "Content-Type: text/x; a=b\r\nContent-Encoding: gzip\r\nHelenus-Meta-Owner: me\r\n";
    let put = f.ask("PUT", "/v1/kv/default/a/b%20c", headers, "v\0lue").await;
    assert_eq!(put.status, 200);
    let body = format!(r#"{{"timestamp":{},"required":1,"acknowledged":1}}"#, NOW.0);
    assert_eq!(String::from_utf8_lossy(&put.body), body, "in the documented order");
    let get = f.get("/v1/kv/default/a%2Fb%20c").await;
    assert_eq!((get.status, get.body.as_slice()), (200, &b"v\0lue"[..]));
    for (name, value) in [
        ("content-type", "text/x; a=b"),
        ("content-encoding", "gzip"),
        ("helenus-meta-owner", "me"),
        ("content-length", "5"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
        ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("helenus-timestamp", &NOW.0.to_string()),
        ("helenus-consistency", "quorum; required=1; acknowledged=1"),
        ("helenus-coordinator", &HOST.to_string()),
        ("helenus-ttl", ""),
    ] {
        assert_eq!(get.header(name), value, "{name}");
    }
    assert!(!get.header("helenus-session").is_empty());
}

#[tokio::test]
async fn a_real_node_keeps_the_same_promises() {
    let node = SingleNode::start().await;
    let served = serve(Arc::clone(&node.node) as _, Surface::Both).await;
    let host = node.node.host_id().to_string();
    let put = "PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nv";
    let written = ask(served.address, put).await;
    let timestamp = written.json()["timestamp"].to_string();
    for method in ["GET", "HEAD"] {
        let reply =
            ask(served.address, format!("{method} /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!((reply.status, reply.header("content-length")), (200, "1"));
        assert_eq!(
            (reply.header("content-type"), reply.header("helenus-timestamp")),
            ("a/b", timestamp.as_str())
        );
        assert_eq!(reply.header("helenus-consistency"), "quorum; required=1; acknowledged=1");
        assert_eq!(reply.header("helenus-coordinator"), host);
    }
    let delete = ask(served.address, "DELETE /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(delete.status, 200);
    let gone = ask(served.address, "GET /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((gone.status, gone.header("helenus-deleted")), (404, "?1"));
    let status = ask(served.address, "GET /admin/v1/status HTTP/1.1\r\nHost: h\r\n\r\n").await.json();
    assert_eq!((&status["host_id"], &status["members"][0]["up"]), (&host.into(), &true.into()));
    node.node.drain();
    let draining = ask(served.address, put).await;
    assert_eq!((draining.status, draining.problem().as_str()), (503, "draining"));
    assert_eq!((draining.header("retry-after"), &draining.json()["outcome"]), ("1", &"not-applied".into()));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let f = Fixture::new().await;
    f.ask("POST", "/v1/kv/default/k", "", "value").await;
    let get = f.get("/v1/kv/default/k").await;
    let mut client = Client::connect(f.served.address).await;
    client.send("HEAD /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = client.reply_to_head().await;
    let comparable = |reply: &Reply| {
        let volatile = ["helenus-request-id", "date"];
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| !volatile.contains(&name.as_str()));
        headers.sort();
        (reply.status, headers)
    };
    assert_eq!(comparable(&head), comparable(&get));
    // The connection goes on, and nothing of a body lies in between.
    client.send("GET /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.reply().await.body, b"value");
}

#[tokio::test]
async fn an_entity_tag_tells_versions_apart_and_saves_bodies() {
    let f = Fixture::new().await;
    f.ask("PUT", "/v1/kv/default/k?timestamp=5", "", "a").await;
    let first = f.get("/v1/kv/default/k").await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
    for header in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let reply = f.ask("GET", "/v1/kv/default/k", &format!("If-None-Match: {header}\r\n"), "").await;
        assert_eq!(
            (reply.status, reply.header("etag"), reply.body.len()),
            (304, etag.as_str(), 0),
            "{header}"
        );
        assert_eq!(reply.header("helenus-timestamp"), "5");
    }
    for target in ["/v1/kv/default/k?timestamp=6", "/v1/kv/default/k?timestamp=7"] {
        f.ask("PUT", target, "", "a").await;
        let reply = f.ask("GET", "/v1/kv/default/k", &format!("If-None-Match: {etag}\r\n"), "").await;
        assert_eq!(reply.status, 200);
        assert_ne!(reply.header("etag"), etag);
    }
    let absent = f.ask("GET", "/v1/kv/default/none", "If-None-Match: *\r\n", "").await;
    assert_eq!(absent.status, 404);
}

#[tokio::test]
async fn a_deleted_key_is_told_from_one_that_never_was() {
    let f = Fixture::new().await;
    let never = f.get("/v1/kv/default/k").await;
    assert_eq!(
        (never.status, never.problem().as_str(), never.header("helenus-deleted")),
        (404, "not-found", "")
    );
    assert_eq!(never.header("helenus-consistency"), "quorum; required=1; acknowledged=1");
    let delete = f.ask("DELETE", "/v1/kv/default/k?timestamp=9", "", "").await;
    assert_eq!((delete.status, &delete.json()["timestamp"]), (200, &9.into()));
    let deleted = f.get("/v1/kv/default/k").await;
    assert_eq!((deleted.status, deleted.problem().as_str()), (404, "not-found"));
    assert_eq!((deleted.header("helenus-deleted"), deleted.header("helenus-timestamp")), ("?1", "9"));
}

#[tokio::test]
async fn what_expires_says_when() {
    let f = Fixture::new().await;
    f.ask("PUT", "/v1/kv/default/k", "Helenus-TTL: 60\r\n", "v").await;
    assert_eq!(f.get("/v1/kv/default/k").await.header("helenus-ttl"), "60");
    f.node.store("soon", Record::expiring(Timestamp(1), &b"\0v"[..], Timestamp(NOW.0 + 1)));
    assert_eq!(f.get("/v1/kv/default/soon").await.header("helenus-ttl"), "1");
    f.node.store("gone", Record::expiring(Timestamp(1), &b"\0v"[..], NOW));
    assert_eq!(f.get("/v1/kv/default/gone").await.header("helenus-deleted"), "?1");
}

#[tokio::test]
async fn a_post_to_a_table_names_a_new_key() {
    let f = Fixture::new().await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let reply = f.ask("POST", "/v1/kv/default", "Content-Type: a/b\r\n", "v").await;
        assert_eq!(reply.status, 201);
        let key = reply.json()["key"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("location"), format!("/v1/kv/default/{key}"));
        assert_eq!(uuid::Uuid::parse_str(&key).unwrap().get_version_num(), 7);
        assert_eq!(f.get(reply.header("location")).await.header("content-type"), "a/b");
        keys.push(key);
    }
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn options_reach_the_coordinator_and_a_trace_comes_back() {
    let f = Fixture::new().await;
    let before = Instant::now();
    let reply = f.ask("GET", "/v1/kv/default/k?consistency=One&trace=1", "Prefer: wait=3\r\n", "").await;
    let asked = f.node.asked.lock().clone().unwrap();
    assert!(asked.since.is_some_and(|since| since >= before), "its time runs while it waits for its turn");
    assert_eq!(
        (asked.consistency, asked.timeout, asked.trace),
        (Some(Consistency::One), Some(Duration::from_secs(3)), true)
    );
    let trace: serde_json::Value = serde_json::from_str(reply.header("helenus-trace")).unwrap();
    assert_eq!(trace, json!([{ "at_us": 3, "node": HOST.to_string(), "what": "answered" }]));
    assert_eq!(reply.header("helenus-consistency"), "one; required=1; acknowledged=1");
}

#[tokio::test]
async fn each_error_of_a_coordinator_has_its_status_and_says_what_became_of_the_write() {
    let f = Fixture::new().await;
    let level = Consistency::Quorum;
    let unavailable = || RequestError::Unavailable {
        level,
        required: 2,
        alive: 1,
        shortages: Vec::new(),
        down: vec![HOST],
    };
    let late = || RequestError::Timeout {
        level,
        required: 2,
        received: 1,
        silent: 1,
        lost: 0,
        timeout: Duration::from_secs(2),
        shortages: Vec::new(),
    };
    let failed = |error: ReplicaError| RequestError::Failed {
        level,
        required: 2,
        received: 1,
        failures: vec![(HOST, error)],
        shortages: Vec::new(),
    };
    let rows = [
        (unavailable(), 503, ["unavailable"; 2], "not-applied"),
        (RequestError::Overloaded("requests"), 503, ["overloaded"; 2], "not-applied"),
        (RequestError::Starting("replaying".to_owned()), 503, ["starting"; 2], "not-applied"),
        (RequestError::Draining, 503, ["draining"; 2], "not-applied"),
        (RequestError::ClockSkew("by an hour".to_owned()), 503, ["clock-skew"; 2], "not-applied"),
        (late(), 504, ["write-timeout", "read-timeout"], "unknown"),
        (
            failed(ReplicaError::Storage("broken".to_owned())),
            500,
            ["write-failure", "read-failure"],
            "unknown",
        ),
        (failed(ReplicaError::StorageFull("write f".to_owned())), 507, ["storage-full"; 2], "unknown"),
    ];
    for (error, status, [of_write, of_read], outcome) in rows {
        for (method, problem, outcome) in
            [("PUT", of_write, outcome), ("DELETE", of_write, outcome), ("GET", of_read, "none")]
        {
            f.node.fail_next(error.clone());
            let reply = f.ask(method, "/v1/kv/default/k", "", "").await;
            let body = reply.json();
            assert_eq!((reply.status, reply.problem().as_str()), (status, problem), "{method} {error:?}");
            assert_eq!(body["outcome"], outcome, "{method} {error:?}");
            assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "" });
            assert_eq!(reply.header("helenus-coordinator"), HOST.to_string());
            assert_eq!(body["request_id"], reply.header("helenus-request-id"));
        }
    }
    f.node.fail_next(unavailable());
    let reply = f.get("/v1/kv/default/k").await;
    let body = reply.json();
    assert_eq!(
        (&body["consistency"], &body["required"], &body["alive"]),
        (&"quorum".into(), &2.into(), &1.into())
    );
    assert_eq!(reply.header("helenus-consistency"), "quorum; required=2; acknowledged=0");
    f.node.fail_next(late());
    let reply = f.get("/v1/kv/default/k").await;
    assert_eq!((&reply.json()["required"], &reply.json()["received"]), (&2.into(), &1.into()));
    assert_eq!(reply.header("helenus-consistency"), "quorum; required=2; acknowledged=1");
}

#[tokio::test]
async fn a_full_node_refuses_before_it_reads_anything_and_serves_again_on_the_same_connection() {
    let f = Fixture::new().await;
    f.node.is_full.store(true, Ordering::Relaxed);
    let mut client = Client::connect(f.served.address).await;
    for _ in 0..3 {
        let reply = client
            .send("PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            .await
            .reply()
            .await;
        assert_eq!((reply.status, reply.problem().as_str()), (503, "overloaded"));
        assert_eq!((reply.header("retry-after"), &reply.json()["outcome"]), ("1", &"not-applied".into()));
    }
    assert!(f.node.asked.lock().is_none(), "nothing was asked of the coordinator");

    f.node.is_full.store(false, Ordering::Relaxed);
    let reply = client.send("GET /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n\r\n").await.reply().await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn stored_bytes_of_a_later_build_are_an_error_and_no_value() {
    let f = Fixture::new().await;
    f.node.store("later", Record::plain(Timestamp(1), &b"\xffv"[..]));
    let reply = f.get("/v1/kv/default/later").await;
    assert_eq!((reply.status, reply.problem().as_str()), (500, "read-failure"));
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    let f = Fixture::new().await;
    assert_eq!(f.get("/livez").await.status, 200);
    assert_eq!(f.get("/readyz").await.status, 200);
    for (readiness, problem) in
        [(Readiness::Starting("replaying the log".to_owned()), "starting"), (Readiness::Draining, "draining")]
    {
        *f.node.readiness.lock() = Some(readiness);
        let reply = f.get("/readyz").await;
        assert_eq!((reply.status, reply.problem().as_str()), (503, problem));
        assert_eq!(f.get("/livez").await.status, 200);
    }
    let version = f.get("/version").await.json();
    assert_eq!(
        (&version["name"], &version["version"]),
        (&"helenus".into(), &env!("CARGO_PKG_VERSION").into())
    );
}

#[tokio::test]
async fn until_the_node_is_there_only_the_process_answers() {
    let (served, api) = serve_starting(Surface::Both).await;
    let ask = async |method: &str, target: &str| {
        let length = if method == "PUT" { "Content-Length: 1\r\n" } else { "" };
        let body = if method == "PUT" { "v" } else { "" };
        ask(served.address, format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{length}\r\n{body}")).await
    };
    for target in ["/livez", "/version"] {
        assert_eq!(ask("GET", target).await.status, 200, "{target}");
    }
    for (method, target, outcome) in [
        ("GET", "/readyz", serde_json::Value::Null),
        ("GET", "/v1/kv/default/k", "none".into()),
        ("PUT", "/v1/kv/default/k", "not-applied".into()),
        ("DELETE", "/v1/kv/default/k", "not-applied".into()),
        ("POST", "/v1/kv/default", "not-applied".into()),
        ("GET", "/metrics", "none".into()),
        ("GET", "/admin/v1/status", "none".into()),
    ] {
        let reply = ask(method, target).await;
        assert_eq!((reply.status, reply.problem().as_str()), (503, "starting"), "{method} {target}");
        assert_eq!(reply.json()["outcome"], outcome, "{method} {target}");
        assert_eq!(reply.header("retry-after"), "1");
    }

    api.begin(Arc::new(Scripted::default()));
    for (method, target) in
        [("GET", "/readyz"), ("PUT", "/v1/kv/default/k"), ("GET", "/v1/kv/default/k"), ("GET", "/metrics")]
    {
        assert_eq!(ask(method, target).await.status, 200, "{method} {target}");
    }
}

#[tokio::test]
async fn operators_and_clients_can_have_listeners_of_their_own() {
    for (surface, admin, client) in
        [(Surface::Both, 200, 404), (Surface::Admin, 200, 404), (Surface::Client, 404, 404)]
    {
        let served = serve(Arc::new(Scripted::default()), surface).await;
        let get = async |target: &str| {
            ask(served.address, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await
        };
        assert_eq!(get("/admin/v1/status").await.status, admin, "{surface:?}");
        let value = get("/v1/kv/default/k").await;
        let problem = if surface == Surface::Admin { "no-such-route" } else { "not-found" };
        assert_eq!((value.status, value.problem().as_str()), (client, problem), "{surface:?}");
        assert_eq!(get("/readyz").await.status, 200);
    }
}

#[tokio::test]
async fn the_metrics_page_counts_what_was_asked() {
    let f = Fixture::new().await;
    f.ask("PUT", "/v1/kv/default/k?consistency=one", "", "v").await;
    f.get("/v1/kv/default/k?consistency=1").await;
    f.get("/v1/kv/default/none").await;
    f.get("/v1/kv/default/%zz").await;
    let page = f.get("/metrics").await;
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    let page = String::from_utf8(page.body).unwrap();
    for line in [
        "helenus_coordinator_requests_total{op=\"put\",level=\"one\",result=\"ok\"} 1",
        "helenus_coordinator_requests_total{op=\"get\",level=\"number\",result=\"ok\"} 1",
        "helenus_coordinator_requests_total{op=\"get\",level=\"quorum\",result=\"not-found\"} 1",
        "helenus_coordinator_requests_total{op=\"get\",level=\"none\",result=\"invalid-key\"} 1",
        // What is refused at once is no latency.
        "helenus_coordinator_request_duration_seconds_count{op=\"get\"} 2",
        "helenus_http_in_flight_requests 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing from\n{page}");
    }
}

#[tokio::test]
async fn old_clients_and_impatient_ones_are_served() {
    let f = Fixture::new().await;
    // HTTP/1.0 closes unless asked not to.
    let mut client = Client::connect(f.served.address).await;
    client.send("PUT /v1/kv/default/k HTTP/1.0\r\nContent-Length: 1\r\n\r\nv").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.closed().await, "");
    let mut client = Client::connect(f.served.address).await;
    client.send("GET /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.body.as_slice(), reply.header("connection")), (&b"v"[..], "close"));
    assert_eq!(client.closed().await, "");
    // A body is asked for before it is sent.
    let mut client = Client::connect(f.served.address).await;
    client
        .send("PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 100);
    assert_eq!(client.send("w").await.reply().await.status, 200);
    assert_eq!(f.get("/v1/kv/default/k").await.body, b"w");
}

#[tokio::test]
async fn a_reply_in_front_of_a_body_that_is_still_to_come_says_that_the_connection_ends() {
    let f = Fixture::new().await;
    let head = "PUT /v1/kv/default/k?ttl=never HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
    let mut client = Client::connect(f.served.address).await;
    let reply = client.send(head).await.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (400, "close"));
    assert_eq!(client.closed().await, "");
    // One that is here is in nobody's way.
    let mut client = Client::connect(f.served.address).await;
    assert_eq!(client.send(&format!("{head}v")).await.reply().await.status, 400);
    let put = "PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nv";
    assert_eq!(client.send(put).await.reply().await.status, 200);
}

#[tokio::test]
async fn a_page_of_a_scan_has_the_documented_members() {
    let f = Fixture::new().await;
    let gzip = "Content-Type: text/x\r\nContent-Encoding: gzip\r\n";
    assert_eq!(f.ask("PUT", "/v1/kv/default/a%20b", gzip, "v").await.status, 200);
    assert_eq!(f.ask("PUT", "/v1/kv/default/%FF?ttl=60", "", "").await.status, 200);
    f.node.store("damaged", Record::plain(NOW, "\u{9}"));

    let first = f.get("/v1/kv/default?limit=1&start=a&consistency=one&keys_only=0").await;
    let next = "ZGFtYWdlZA";
    let encoded = r#""content_type":"text/x","content_encoding":"gzip""#;
    let item = format!(r#"{{"key":"a b","value_base64":"dg==","timestamp":{},{encoded}}}"#, NOW.0);
    let body = format!(r#"{{"items":[{item}],"next":"{next}"}}"#);
    assert_eq!(String::from_utf8_lossy(&first.body), body, "in the documented order");
    for (name, value) in [
        ("content-type", "application/json"),
        ("link", &format!("</v1/kv/default?limit=1&consistency=one&page={next}>; rel=\"next\"")),
        ("helenus-consistency", "one; required=1; acknowledged=1"),
        ("helenus-coordinator", &HOST.to_string()),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }

    let second = f.get(&format!("/v1/kv/default?page={next}")).await;
    assert_eq!((second.status, second.problem().as_str()), (500, "read-failure"), "a value of another build");
    let keys = f.get(&format!("/v1/kv/default?page={next}&keys_only=1")).await;
    let timestamp = NOW.0;
    let items = json!([{ "key": "damaged", "timestamp": timestamp }, { "key_base64": "/w==", "timestamp": timestamp }]);
    assert_eq!(keys.json(), json!({ "items": items, "next": null }));
    assert_eq!(keys.header("link"), "");

    let lines = f
        .ask("GET", "/v1/kv/default?start=%FF", "Accept: text/html, application/x-ndjson;q=0.9\r\n", "")
        .await;
    let item = json!({
        "key_base64": "/w==", "value_base64": "", "timestamp": timestamp, "ttl": 60,
        "content_type": "application/octet-stream"
    });
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(String::from_utf8_lossy(&lines.body), format!("{item}\n"));
    let head = f.ask("HEAD", "/v1/kv/default?limit=1", "", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("link").contains("page="));
}
