//! Whatever arrives, the answer is the status that the API promises, with the offending field, and in time; the
//! server neither fails nor loses track.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use helenus_server::http::Surface;
use support::{
    Client, ask, eventually,
    scripted::{Served, serve, test_limits},
    single_node::SingleNode,
};

/// The API over a real node; both end with the test.
struct Fixture {
    served: Served,
    _node: SingleNode,
}

async fn start() -> Fixture {
    let node = SingleNode::start().await;
    Fixture { served: serve(Arc::clone(&node.node) as _, Surface::Both).await, _node: node }
}

/// A request without body.
fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// What is wrong, the request, and its status, problem and field.
struct Row {
    request: Vec<u8>,
    status: u16,
    problem: &'static str,
    field: &'static str,
}

fn row(request: impl Into<Vec<u8>>, status: u16, problem: &'static str, field: &'static str) -> Row {
    Row { request: request.into(), status, problem, field }
}

/// Rows of requests whose target is all that matters.
fn targets(rows: &[(&str, &str, u16, &'static str, &'static str)]) -> Vec<Row> {
    rows.iter()
        .map(|(method, target, status, problem, field)| {
            row(request(method, target, ""), *status, problem, field)
        })
        .collect()
}

/// Asks each row on its own connection; afterwards the server still serves, and nothing is left open.
async fn check(rows: Vec<Row>) {
    let Fixture { served, _node } = start().await;
    let mut wrong = Vec::new();
    for row in &rows {
        let reply = ask(served.address, &row.request).await;
        let to_head = row.request.starts_with(b"HEAD ");
        let problem = if to_head { String::new() } else { reply.problem() };
        let field = if problem.is_empty() {
            String::new()
        } else {
            let body = reply.json();
            assert_eq!(body["request_id"], reply.header("helenus-request-id"));
            body["field"].as_str().unwrap_or_default().to_owned()
        };
        if (reply.status, problem.as_str(), field.as_str()) != (row.status, row.problem, row.field) {
            let head = String::from_utf8_lossy(&row.request[..row.request.len().min(120)]).into_owned();
            wrong.push(format!(
                "{head:?}: {} {problem} {field}, expected {} {} {}",
                reply.status, row.status, row.problem, row.field
            ));
        }
    }
    assert!(wrong.is_empty(), "of {} rows:\n{}", rows.len(), wrong.join("\n"));
    assert_eq!(ask(served.address, request("GET", "/livez", "")).await.status, 200);
    eventually("all connections are closed", || served.metrics.open_connections().get() == 0).await;
}

#[tokio::test]
async fn keys() {
    let mut rows = targets(&[
        ("GET", "/v1/kv/default/", 400, "invalid-key", "key"),
        ("PUT", "/v1/kv/default/", 400, "invalid-key", "key"),
        ("DELETE", "/v1/kv/default/", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/%", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/a%", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/%1", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/%zz", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/%G1", 400, "invalid-key", "key"),
        ("PUT", "/v1/kv/default/%1G", 400, "invalid-key", "key"),
        ("PUT", "/v1/kv/default/%%41", 400, "invalid-key", "key"),
        ("PUT", "/v1/kv/default/%u0041", 400, "invalid-key", "key"),
        // Bytes are bytes: what other systems refuse or rewrite is a key here.
        ("PUT", "/v1/kv/default/%00", 200, "", ""),
        ("PUT", "/v1/kv/default/%ff%fe", 200, "", ""),
        ("PUT", "/v1/kv/default/%c0%af", 200, "", ""),
        ("PUT", "/v1/kv/default/%252e", 200, "", ""),
        ("PUT", "/v1/kv/default/..", 200, "", ""),
        ("PUT", "/v1/kv/default/../../etc/passwd", 200, "", ""),
        ("PUT", "/v1/kv/default/a//b/", 200, "", ""),
        ("PUT", "/v1/kv/default//", 200, "", ""),
        ("PUT", "/v1/kv/default/a%5Cb", 200, "", ""),
        ("GET", "/v1/kv/default/a?key_encoding=base64url", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/YQ==?key_encoding=base64url", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/+w?key_encoding=base64url", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/x/YQ?key_encoding=base64url", 400, "invalid-key", "key"),
        ("GET", "/v1/kv/default/?key_encoding=base64url", 400, "invalid-key", "key"),
        ("PUT", "/v1/kv/default/Li4?key_encoding=base64url", 200, "", ""),
        ("PUT", "/v1/kv/default/YQ?key_encoding=base64", 400, "bad-request", "key_encoding"),
    ]);
    for (key, status, problem, field) in [
        ("a".repeat(4096), 200, "", ""),
        ("%41".repeat(4096), 200, "", ""),
        ("a".repeat(4097), 414, "key-too-large", "key"),
        ("%41".repeat(4097), 414, "key-too-large", "key"),
        ("a".repeat(20 << 10), 414, "key-too-large", ""),
    ] {
        rows.push(row(request("PUT", &format!("/v1/kv/default/{key}"), ""), status, problem, field));
    }
    check(rows).await;
}

#[tokio::test]
async fn tables_and_routes() {
    let long = format!("/v1/kv/{}/k", "a".repeat(49));
    check(targets(&[
        ("DELETE", "/admin/v1/settings/%ff", 400, "bad-request", "path"),
        ("GET", "/admin/v1/tasks/%ff", 400, "bad-request", "path"),
        ("GET", "/admin/v1/histograms/%ff", 400, "bad-request", "path"),
        ("DELETE", "/admin/v1/snapshots/%ff", 400, "bad-request", "path"),
        ("POST", "/admin/v1/assassinate/%ff", 400, "bad-request", "path"),
        ("GET", "/v1/kv/Default/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/1a/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/a-b/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/../k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/a%2Fb/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/a%zz/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/%00/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/d%D0%B5fault/k", 400, "bad-request", "table"),
        ("GET", "/v1/kv//k", 400, "bad-request", "table"),
        ("GET", "/v1/kv/", 400, "bad-request", "table"),
        ("GET", &long, 400, "bad-request", "table"),
        ("POST", "/v1/kv/A", 400, "bad-request", "table"),
        ("GET", "/v1/kv/other/k", 404, "no-such-table", "table"),
        ("PUT", "/v1/kv/other/k", 404, "no-such-table", "table"),
        ("DELETE", "/v1/kv/other/k", 404, "no-such-table", "table"),
        ("POST", "/v1/kv/other", 404, "no-such-table", "table"),
        ("GET", "/v1/kv/default/never", 404, "not-found", ""),
        ("GET", "/", 404, "no-such-route", ""),
        ("GET", "/v1", 404, "no-such-route", ""),
        ("GET", "/v1/kv", 404, "no-such-route", ""),
        ("GET", "/v2/kv/default/k", 404, "no-such-route", ""),
        ("GET", "/livez/", 404, "no-such-route", ""),
        ("GET", "/%6civez", 404, "no-such-route", ""),
        ("GET", "/admin/v1/none", 404, "no-such-route", ""),
        ("PATCH", "/v1/kv/default/k", 405, "method-not-allowed", ""),
        ("OPTIONS", "/v1/kv/default/k", 405, "method-not-allowed", ""),
        ("TRACE", "/v1/kv/default/k", 405, "method-not-allowed", ""),
        ("BREW", "/v1/kv/default/k", 405, "method-not-allowed", ""),
        ("get", "/v1/kv/default/k", 405, "method-not-allowed", ""),
        ("DELETE", "/v1/kv/default", 405, "method-not-allowed", ""),
        ("GET", "/v1/kv/missing", 404, "no-such-table", "table"),
        ("GET", "/v1/kv/Default", 400, "bad-request", "table"),
        ("GET", "/v1/kv/default?limit=0", 400, "bad-request", "limit"),
        ("GET", "/v1/kv/default?limit=1001", 400, "bad-request", "limit"),
        ("GET", "/v1/kv/default?page=%25", 400, "bad-request", "page"),
        ("GET", "/v1/kv/default?page=Zm9yZWlnbg", 400, "bad-request", "page"),
        ("GET", "/v1/kv/default?prefix=a", 400, "bad-request", "prefix"),
        ("GET", "/v1/kv/default?start=", 400, "invalid-key", "start"),
        ("GET", "/v1/kv/default?start=%zz", 400, "bad-request", "start"),
        ("GET", "/v1/kv/default?keys_only=perhaps", 400, "bad-request", "keys_only"),
        ("GET", "/v1/kv/default?ttl=1", 400, "bad-request", "ttl"),
        ("GET", "/v1/kv/default?consistency=any", 400, "invalid-consistency", "consistency"),
        ("GET", "/v1/kv/default?consistency=serial", 501, "not-implemented", "consistency"),
        ("PUT", "/v1/kv/default", 405, "method-not-allowed", ""),
        ("POST", "/livez", 405, "method-not-allowed", ""),
        ("PUT", "/metrics", 405, "method-not-allowed", ""),
        ("DELETE", "/admin/v1/status", 405, "method-not-allowed", ""),
        ("GET", "/v1/batch", 405, "method-not-allowed", ""),
        ("POST", "/v1/batch?consistency=one", 400, "bad-request", "consistency"),
        ("GET", "/v1/tables/t", 404, "no-such-table", "table"),
        ("DELETE", "/v1/tables/t", 404, "no-such-table", "table"),
        ("DELETE", "/v1/tables/default", 409, "schema-conflict", ""),
        ("PUT", "/v1/tables/T", 400, "bad-request", "table"),
        ("PUT", "/v1/tables/", 400, "bad-request", "table"),
        ("PUT", "/v1/tables/a%2Fb", 400, "bad-request", "table"),
        ("PUT", "/v1/tables/t?timeout_ms=0", 400, "bad-request", "timeout_ms"),
        ("PUT", "/v1/tables/t?consistency=one", 400, "bad-request", "consistency"),
        ("GET", "/v1/tables?x=1", 400, "bad-request", "x"),
        ("GET", "/v1/tables/default?x=1", 400, "bad-request", "x"),
        ("POST", "/v1/tables/t", 405, "method-not-allowed", ""),
        ("PUT", "/v1/tables", 405, "method-not-allowed", ""),
        ("GET", "/admin/v1/status?x=1", 400, "bad-request", "x"),
        ("GET", "/livez?x=1", 400, "bad-request", "x"),
        ("GET", "/readyz?x", 400, "bad-request", "x"),
        ("GET", "/version?x=", 400, "bad-request", "x"),
        ("GET", "/metrics?x&y", 400, "bad-request", "x"),
    ]))
    .await;
}

#[tokio::test]
async fn parameters() {
    let mut rows = Vec::new();
    for (query, status, problem, field) in [
        ("consistency=", 400, "invalid-consistency", "consistency"),
        ("consistency", 400, "invalid-consistency", "consistency"),
        ("consistency=most", 400, "invalid-consistency", "consistency"),
        ("consistency=0", 400, "invalid-consistency", "consistency"),
        ("consistency=-1", 400, "invalid-consistency", "consistency"),
        ("consistency=1.5", 400, "invalid-consistency", "consistency"),
        ("consistency=99999999999999999999", 400, "invalid-consistency", "consistency"),
        ("consistency=two", 400, "invalid-consistency", "consistency"),
        ("consistency=three", 400, "invalid-consistency", "consistency"),
        ("consistency=2", 400, "invalid-consistency", "consistency"),
        ("consistency=4294967295", 400, "invalid-consistency", "consistency"),
        ("consistency=one&consistency=one", 400, "bad-request", "consistency"),
        ("consistancy=all", 400, "bad-request", "consistancy"),
        ("Consistency=all", 400, "bad-request", "Consistency"),
        ("consistency=%zz", 400, "bad-request", "consistency"),
        ("consistency=%ff", 400, "bad-request", "consistency"),
        ("timeout_ms=", 400, "bad-request", "timeout_ms"),
        ("timeout_ms=0", 400, "bad-request", "timeout_ms"),
        ("timeout_ms=-5", 400, "bad-request", "timeout_ms"),
        ("timeout_ms=30001", 400, "bad-request", "timeout_ms"),
        ("timeout_ms=1e3", 400, "bad-request", "timeout_ms"),
        ("timeout_ms=18446744073709551617", 400, "bad-request", "timeout_ms"),
        ("trace=2", 400, "bad-request", "trace"),
        ("trace", 400, "bad-request", "trace"),
        ("x=1", 400, "bad-request", "x"),
        ("a%20b=1", 400, "bad-request", "a b"),
        ("=1", 400, "bad-request", ""),
        ("consistency=ONE&timeout_ms=30000&trace=1", 200, "", ""),
        ("consistency=Quorum", 200, "", ""),
        ("consistency=1", 200, "", ""),
        ("consistency=each_quorum", 200, "", ""),
        ("consistency=local_quorum", 200, "", ""),
        ("consistency=local_one", 200, "", ""),
        ("", 200, "", ""),
        ("&", 200, "", ""),
    ] {
        rows.push(row(request("PUT", &format!("/v1/kv/default/k?{query}"), ""), status, problem, field));
        let (status, problem) = if status == 200 { (404, "not-found") } else { (status, problem) };
        rows.push(row(request("GET", &format!("/v1/kv/default/n?{query}"), ""), status, problem, field));
    }
    rows.extend(targets(&[
        ("GET", "/v1/kv/default/k?consistency=any", 400, "invalid-consistency", "consistency"),
        ("GET", "/v1/kv/default/k?consistency=serial", 501, "not-implemented", "consistency"),
        ("GET", "/v1/kv/default/k?consistency=local_serial", 501, "not-implemented", "consistency"),
        ("PUT", "/v1/kv/default/k?consistency=serial", 400, "invalid-consistency", "consistency"),
        ("DELETE", "/v1/kv/default/k?consistency=local_serial", 400, "invalid-consistency", "consistency"),
        ("PUT", "/v1/kv/default/k?consistency=any", 200, "", ""),
        ("PUT", "/v1/kv/default/k?ttl=0", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?ttl=-1", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?ttl=630720001", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?ttl=99999999999999999999", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?ttl=1h", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?ttl=630720000", 200, "", ""),
        ("GET", "/v1/kv/default/k?ttl=1", 400, "bad-request", "ttl"),
        ("DELETE", "/v1/kv/default/k?ttl=1", 400, "bad-request", "ttl"),
        ("PUT", "/v1/kv/default/k?timestamp=0", 400, "bad-request", "timestamp"),
        ("PUT", "/v1/kv/default/k?timestamp=-1", 400, "bad-request", "timestamp"),
        ("PUT", "/v1/kv/default/k?timestamp=18446744073709551615", 400, "bad-request", "timestamp"),
        ("PUT", "/v1/kv/default/k?timestamp=18446744073709551616", 400, "bad-request", "timestamp"),
        ("PUT", "/v1/kv/default/k?timestamp=1", 200, "", ""),
        ("DELETE", "/v1/kv/default/k?timestamp=9999999999999999", 400, "bad-request", "timestamp"),
        ("GET", "/v1/kv/default/k?timestamp=1", 400, "bad-request", "timestamp"),
        ("POST", "/v1/kv/default?key_encoding=base64url", 400, "bad-request", "key_encoding"),
        ("POST", "/v1/kv/default?limit=1", 400, "bad-request", "limit"),
    ]));
    check(rows).await;
}

#[tokio::test]
async fn headers() {
    let put = |headers: &str| request("PUT", "/v1/kv/default/k", headers);
    let mut rows = Vec::new();
    for (headers, status, problem, field) in [
        ("Helenus-Consistency: most\r\n", 400, "invalid-consistency", "consistency"),
        ("Helenus-Consistency: ONE\r\n", 200, "", ""),
        ("Helenus-Consistency: one\r\nHelenus-Consistency: one\r\n", 400, "bad-request", "consistency"),
        ("Helenus-Consistency: \u{e9}\r\n", 400, "bad-request", "consistency"),
        ("Helenus-TTL: x\r\n", 400, "bad-request", "ttl"),
        ("Helenus-TTL: 60\r\n", 200, "", ""),
        ("Helenus-Timestamp: 0\r\n", 400, "bad-request", "timestamp"),
        ("Helenus-Timestamp: 18446744073709551615\r\n", 400, "bad-request", "timestamp"),
        ("Prefer: wait=0\r\n", 400, "bad-request", "timeout_ms"),
        ("Prefer: wait=31\r\n", 400, "bad-request", "timeout_ms"),
        ("Prefer: wait=soon\r\n", 400, "bad-request", "timeout_ms"),
        ("Prefer: respond-async, wait=30\r\n", 200, "", ""),
        ("Helenus-TTL: 01\r\n", 400, "bad-request", "ttl"),
        ("Helenus-Consistency: 01\r\n", 400, "invalid-consistency", "consistency"),
        // A misspelt header must not silently weaken a request.
        ("Helenus-Consistancy: all\r\n", 400, "bad-request", "helenus-consistancy"),
        ("Helenus-: x\r\n", 400, "bad-request", "helenus-"),
        ("Helenus-Meta-Anything: x\r\nHelenusX: y\r\n", 200, "", ""),
        ("Helenus-Session: made up\r\n", 400, "bad-request", "Helenus-Session"),
        ("If-Match: \"x\"\r\n", 501, "not-implemented", "if-match"),
        ("If-None-Match: *\r\n", 501, "not-implemented", "if-none-match"),
        ("Content-Type: a/b\r\nContent-Type: a/b\r\n", 400, "bad-request", "Content-Type"),
        ("Host: again\r\n", 400, "bad-request", "Host"),
        // What hyper refuses before there is a request.
        ("No colon\r\n", 400, "bad-request", ""),
        ("Na me: x\r\n", 400, "bad-request", ""),
        ("Name : x\r\n", 400, "bad-request", ""),
        ("X: a\r\n folded\r\n", 400, "bad-request", ""),
        ("X: a\0b\r\n", 400, "bad-request", ""),
        (": x\r\n", 400, "bad-request", ""),
    ] {
        rows.push(row(put(headers), status, problem, field));
    }
    for (query, headers, field) in [
        ("consistency=one", "Helenus-Consistency: quorum\r\n", "consistency"),
        ("timeout_ms=999", "Prefer: wait=1\r\n", "timeout_ms"),
        ("ttl=1", "Helenus-TTL: 2\r\n", "ttl"),
        ("timestamp=1", "Helenus-Timestamp: 2\r\n", "timestamp"),
    ] {
        rows.push(row(
            request("PUT", &format!("/v1/kv/default/k?{query}"), headers),
            400,
            "bad-request",
            field,
        ));
    }
    rows.push(row(request("PUT", "/v1/kv/default/k?ttl=1", "Helenus-TTL: 1\r\n"), 200, "", ""));
    let meta = |bytes: usize| put(&format!("Helenus-Meta-A: {}\r\n", "x".repeat(bytes)));
    rows.push(row(meta(8 << 10), 431, "headers-too-large", ""));
    rows.push(row(meta((8 << 10) - "helenus-meta-a".len()), 200, "", ""));
    rows.push(row(put(&format!("X: {}\r\n", "x".repeat(17 << 10))), 431, "headers-too-large", ""));
    rows.push(row(put(&format!("X: {}\r\n", "x".repeat(100 << 10))), 431, "headers-too-large", ""));
    rows.push(row(put(&"X: y\r\n".repeat(65)), 431, "headers-too-large", ""));
    rows.push(row(put(&"X: y\r\n".repeat(200)), 431, "headers-too-large", ""));
    rows.push(row(put(&"X: y\r\n".repeat(40)), 200, "", ""));
    check(rows).await;
}

#[tokio::test]
async fn request_lines() {
    let long = "x".repeat(20 << 10);
    let longer = "x".repeat(70 << 10);
    check(vec![
        row("GET /livez HTTP/1.1\r\n\r\n", 400, "bad-request", "Host"),
        row("GET /livez HTTP/1.0\r\n\r\n", 200, "", ""),
        row("GET /livez\r\n\r\n", 400, "bad-request", ""),
        row("GET /livez HTTP/2.0\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row("GET /livez HTTP/1.2\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row("GET  /livez HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row("GET livez HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row("GET /liv\0ez HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row(&b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"[..], 400, "bad-request", ""),
        row("G\x01T /livez HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        row("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-request", ""),
        row(&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400, "bad-request", ""),
        row("GET http://h/livez HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", ""),
        row("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad-request", ""),
        // Hyper would drop what follows, and another key would be written.
        row(request("PUT", "/v1/kv/default/frag#b", ""), 400, "bad-request", "target"),
        row(request("PUT", "/v1/kv/default/frag?ttl=1#b", ""), 400, "bad-request", "target"),
        row(request("PUT", "http://h/v1/kv/default/frag#", ""), 400, "bad-request", "target"),
        row(request("PUT", "/v1/kv/default/frag%23b", "X: #\r\n"), 200, "", ""),
        row("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404, "no-such-route", ""),
        row(request("GET", &format!("/v1/kv/default/k?x={long}"), ""), 414, "target-too-long", ""),
        row(
            request("PUT", &format!("/admin/v1/settings/log.filter?value={long}"), ""),
            414,
            "target-too-long",
            "",
        ),
        row(request("GET", &format!("/{longer}"), ""), 431, "headers-too-large", ""),
        row("HEAD /v1/kv/default/none HTTP/1.1\r\nHost: h\r\n\r\n", 404, "", ""),
        row("HEAD /v1/kv/default/%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, "", ""),
    ])
    .await;
}

#[tokio::test]
async fn bodies() {
    let limit = test_limits().max_value_bytes;
    let put = |headers: &str, body: &str| {
        format!("PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}")
    };
    let sized = |bytes: usize| put(&format!("Content-Length: {bytes}\r\n"), &"x".repeat(bytes));
    let chunked = |chunks: &str| put("Transfer-Encoding: chunked\r\n", chunks);
    let one_chunk = |bytes: usize| chunked(&format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes)));
    check(vec![
        row(sized(0), 200, "", ""),
        row(sized(limit), 200, "", ""),
        row(sized(limit + 1), 413, "value-too-large", "body"),
        row(put("Content-Length: 99999999999\r\n", ""), 413, "value-too-large", "body"),
        row(
            put("Content-Length: 99999999999\r\nExpect: 100-continue\r\n", ""),
            413,
            "value-too-large",
            "body",
        ),
        row(one_chunk(limit), 200, "", ""),
        row(one_chunk(limit + 1), 413, "value-too-large", "body"),
        row(chunked("1\r\na\r\n2\r\nbc\r\n0\r\nTrailer: t\r\n\r\n"), 200, "", ""),
        row(chunked("x\r\n"), 400, "bad-request", "body"),
        row(chunked("1\r\nab\r\n"), 400, "bad-request", "body"),
        row(chunked("fffffffffffffffff\r\n"), 400, "bad-request", "body"),
        row(chunked("-1\r\n"), 400, "bad-request", "body"),
        row(chunked("1\r\na\r\n0\r\nbad trailer\r\n\r\n"), 400, "bad-request", "body"),
        row(put("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), 400, "bad-request", ""),
        row(put("Content-Length: -1\r\n", ""), 400, "bad-request", ""),
        row(put("Content-Length: +1\r\n", "a"), 400, "bad-request", ""),
        row(put("Content-Length: 1x\r\n", "a"), 400, "bad-request", ""),
        row(put("Content-Length: 99999999999999999999999\r\n", ""), 400, "bad-request", ""),
        row(put("Transfer-Encoding: gzip\r\n", ""), 400, "bad-request", ""),
        row(put("Transfer-Encoding: chunked, gzip\r\n", ""), 400, "bad-request", ""),
        row(put("Content-Length: 3\r\n", "a"), 408, "request-timeout", ""),
        row(chunked("3\r\na"), 408, "request-timeout", ""),
        // A body where none belongs is read past.
        row(
            format!("GET /v1/kv/default/n HTTP/1.1\r\nHost: h\r\n{}", "Content-Length: 1\r\n\r\na"),
            404,
            "not-found",
            "",
        ),
    ])
    .await;
}

#[tokio::test]
async fn two_lengths_never_make_two_requests() {
    // RFC 9112, section 6.3: chunked wins over a length, and the connection must end. What hides behind the first
    // body, for whoever goes by the length, is not answered.
    for lengths in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let Fixture { served, _node } = start().await;
        let mut client = Client::connect(served.address).await;
        client
            .send(format!(
                "PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\n{lengths}\r\n\r\n0\r\n\r\n\
                 PUT /v1/kv/default/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, "close"));
        client.finish().await;
        assert_eq!(client.closed().await, "");
        let smuggled = ask(served.address, request("GET", "/v1/kv/default/smuggled", "")).await;
        assert_eq!(smuggled.status, 404);
    }
}

#[tokio::test]
async fn hostile_keys_are_keys_of_their_own() {
    // Written through one spelling, read through another, and never confused with a neighbour.
    let Fixture { served, _node } = start().await;
    let spellings = [
        ("%2e%2e", ".."),
        ("Li4?key_encoding=base64url", ".."),
        ("%252e", "%252e"),
        (".", "Lg?key_encoding=base64url"),
        ("%00", "AA?key_encoding=base64url"),
        ("%ff%fe", "__4?key_encoding=base64url"),
        ("a%2Fb", "a/b"),
        ("a//b", "a%2f/b"),
        ("a/b/", "a/b%2F"),
        ("%23", "Iw?key_encoding=base64url"),
        ("%3Fx=1", "P3g9MQ?key_encoding=base64url"),
        ("\u{e9}", "%c3%a9"),
        ("a+b", "a%2Bb"),
        ("a%20b", "YSBi?key_encoding=base64url"),
    ];
    for (place, (written, read)) in spellings.iter().enumerate() {
        let value = place.to_string();
        let put = format!(
            "PUT /v1/kv/default/{written} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{value}",
            value.len()
        );
        assert_eq!(ask(served.address, put).await.status, 200, "{written}");
        let reply = ask(served.address, request("GET", &format!("/v1/kv/default/{read}"), "")).await;
        assert_eq!((reply.status, reply.body), (200, value.into_bytes()), "{written} as {read}");
    }
    let none = ask(served.address, request("GET", "/v1/kv/default/%2e", "")).await;
    assert_eq!(none.body, b"3");
}

#[tokio::test]
async fn a_wrong_method_says_which_are_right() {
    let Fixture { served, _node } = start().await;
    let reply = ask(served.address, request("PATCH", "/v1/kv/default/k", "")).await;
    let mut allowed: Vec<_> = reply.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST", "PUT"]);
}

/// A request that announces a body, without the body.
fn put_head(length: usize) -> String {
    format!("PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn bodies_beyond_the_budget_of_all_are_refused_and_cost_nothing() {
    let Fixture { served, _node } = start().await;
    let limits = test_limits();
    let unsent = 100;
    let mut holders = Vec::new();
    for _ in 1..=limits.body_bytes_in_flight / limits.max_value_bytes {
        let mut client = Client::connect(served.address).await;
        client.send(put_head(limits.max_value_bytes)).await;
        client.send(vec![b'x'; limits.max_value_bytes - unsent]).await;
        holders.push(client);
    }
    for _ in 1..unsent {
        for client in &mut holders {
            client.send("x").await;
        }
        // Of one thread with the server: with each of its replies it has read more of the bodies.
        assert_eq!(ask(served.address, request("GET", "/livez", "")).await.status, 200);
    }
    let reply = ask(served.address, put_head(1) + "x").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "overloaded"));
    assert_eq!((reply.header("retry-after"), &reply.json()["outcome"]), ("1", &"not-applied".into()));
    for client in &mut holders {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (408, "close"));
    }
    assert_eq!(ask(served.address, put_head(1) + "x").await.status, 200);
}

#[tokio::test]
async fn clients_that_announce_much_and_send_little_keep_nobody_out() {
    let Fixture { served, _node } = start().await;
    let limits = test_limits();
    let mut slow = Vec::new();
    // Together they announce eight times the budget.
    for number in 1..=8 * limits.body_bytes_in_flight / limits.max_value_bytes {
        let mut client = Client::connect(served.address).await;
        let head = put_head(limits.max_value_bytes).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        // The interim reply proves that its body is awaited.
        assert_eq!(client.send(head).await.reply().await.status, 100, "client {number}");
        client.send("x").await;
        slow.push(client);
    }
    let largest = put_head(limits.max_value_bytes) + &"x".repeat(limits.max_value_bytes);
    assert_eq!(ask(served.address, largest).await.status, 200);
    for client in &mut slow {
        assert_eq!(client.reply().await.status, 408);
    }
}

#[tokio::test]
async fn bodies_without_a_length_count_as_they_arrive() {
    let Fixture { served, _node } = start().await;
    let limits = test_limits();
    let head = "PUT /v1/kv/default/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}", limits.max_value_bytes, "x".repeat(limits.max_value_bytes));
    let mut clients = Vec::new();
    // One more than the budget holds, and none of them ends its body.
    for _ in 0..=limits.body_bytes_in_flight / limits.max_value_bytes {
        let mut client = Client::connect(served.address).await;
        client.send(head).await.send(&chunk).await;
        clients.push(client);
    }
    let mut problems = Vec::new();
    for client in &mut clients {
        problems.push(client.reply().await.problem());
    }
    // Which of them find the bound reached depends on the order in which their pieces are read.
    problems.sort();
    assert_eq!(problems[0], "overloaded", "{problems:?}");
    assert!(problems.iter().all(|problem| ["overloaded", "request-timeout"].contains(&problem.as_str())));
    assert_eq!(ask(served.address, put_head(1) + "x").await.status, 200);
}

#[tokio::test]
async fn a_slow_head_is_a_problem_too() {
    let Fixture { served, _node } = start().await;
    let mut client = Client::connect(served.address).await;
    let reply = client.send("PUT /v1/kv/default/k HTTP/1.1\r\nHos").await.reply().await;
    assert_eq!((reply.status, reply.problem().as_str()), (408, "request-timeout"));
    assert_eq!(served.server.stop(support::PATIENCE).await, 0);
}
