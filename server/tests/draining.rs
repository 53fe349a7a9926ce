//! Promise: a node that is told to stop lets nobody new in, serves to its end what it has begun, and tells its connections
//! so.

mod processes;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use processes::{PATIENCE, TestCluster, wait_until};

fn connect(cluster: &TestCluster) -> TcpStream {
    let stream = TcpStream::connect(cluster.http_address(1)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("it has a socket");
    stream
}

/// A PUT of ten bytes whose head the node has read.
fn begun_put(cluster: &TestCluster, key: &str) -> TcpStream {
    let mut begun = connect(cluster);
    let head = format!(
        "PUT /v1/kv/default/{key} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    );
    begun.write_all(head.as_bytes()).expect("it is sent");
    let mut interim = [0; 25];
    begun.read_exact(&mut interim).expect("the node has read the head");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    begun
}

/// All that is said until the node closes the connection.
fn last_words(mut stream: TcpStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("the end of the connection");
    said
}

#[test]
fn a_request_that_has_begun_is_served_after_sigterm_though_its_body_is_still_on_its_way() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["http.drain_timeout=60s"]);
    cluster.wait_until_ready(1);
    let mut begun = begun_put(&cluster, "late");
    begun.write_all(b"half ").expect("it is sent");
    let mut idle = connect(&cluster);
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n").expect("it is sent");
    let mut alive = [0; 15];
    idle.read_exact(&mut alive).expect("a reply");
    assert_eq!(&alive, b"HTTP/1.1 200 OK");

    cluster.tell_to_stop(1);
    wait_until("nobody new is let in", || {
        let refused = TcpStream::connect(cluster.http_address(1)).err().map(|error| error.kind());
        refused == Some(ErrorKind::ConnectionRefused)
    });
    assert!(last_words(idle).ends_with("{\"status\":\"alive\"}"), "an idle connection is closed");

    begun.write_all(b"sent").expect("it is sent");
    begun.write_all(b"!").expect("it is sent");
    let reply = last_words(begun);
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{reply}");
    assert_eq!(cluster.wait_for_end(1), Some(0));

    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(cluster.request("GET", 1, "/v1/kv/default/late", None).body, b"half sent!");
}

#[test]
fn who_never_ends_a_request_holds_the_node_up_for_the_deadline_of_the_drain_only() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["http.drain_timeout=100ms"]);
    cluster.wait_until_ready(1);
    let _begun = begun_put(&cluster, "never");

    assert_eq!(cluster.terminate(1), Some(0));
    assert!(cluster.log(1).contains("connections were cut"), "{}", cluster.log(1));
}

#[test]
fn a_request_that_has_begun_is_served_by_a_drain_though_its_body_is_still_on_its_way() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["http.drain_timeout=60s"]);
    cluster.wait_until_ready(1);
    let mut begun = begun_put(&cluster, "late");
    begun.write_all(b"half ").expect("it is sent");

    assert_eq!(cluster.request("POST", 1, "/admin/v1/drain?wait_ms=0", None).status, 202);
    wait_until("the drain has begun", || cluster.request("GET", 1, "/readyz", None).status == 503);
    let refused = cluster.request("PUT", 1, "/v1/kv/default/new", Some(b"v"));
    assert_eq!((refused.status, &refused.json()["type"]), (503, &"/problems/draining".into()));
    assert_eq!(cluster.request("GET", 1, "/admin/v1/tasks/1", None).json()["state"], "running");

    begun.write_all(b"sent!").expect("it is sent");
    let mut reply = [0; 15];
    begun.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
    let task = cluster.request("GET", 1, "/admin/v1/tasks/1?wait_ms=30000", None).json();
    assert_eq!(task["state"], "done", "{task}");

    assert_eq!(cluster.terminate(1), Some(0));
    cluster.spawn(1);
    cluster.wait_until_ready(1);
    assert_eq!(cluster.request("GET", 1, "/v1/kv/default/late", None).body, b"half sent!");
}

#[test]
fn who_never_ends_a_request_holds_a_drain_up_for_its_deadline_only_and_is_refused() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &["http.drain_timeout=100ms"]);
    cluster.wait_until_ready(1);
    let mut begun = begun_put(&cluster, "never");

    assert!(cluster.admin(1, &["drain"]).status.success());
    begun.write_all(b"too late!!").expect("it is sent");
    let reply = last_words(begun);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(reply.contains("/problems/draining") && reply.contains("not-applied"), "{reply}");
}

#[test]
fn a_drained_node_tells_its_connections_to_go_elsewhere() {
    let cluster = TestCluster::start(1);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k", Some(b"v")).status, 200);
    assert!(cluster.admin(1, &["drain"]).status.success());
    let reply = cluster.request("PUT", 1, "/v1/kv/default/k", Some(b"v"));
    assert_eq!((reply.status, reply.json()["type"].as_str()), (503, Some("/problems/draining")));
    assert_eq!(reply.json()["outcome"], "not-applied");
    assert_eq!((reply.header("retry-after"), reply.header("connection")), (Some("1"), Some("close")));
    let described = cluster.admin(1, &["describe-cluster"]);
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    for line in ["    Unreachable: 0\n    Unknown: 1\n", "    dc1 #Nodes: 1 #Down: 0 #Unknown: 1\n"] {
        assert!(described.contains(line), "{described}");
    }
    for command in ["scrub", "compact"] {
        let refused = cluster.admin(1, &[command]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("draining (503): the node is draining"), "{said}");
    }
    let tasks = cluster.request("GET", 1, "/admin/v1/tasks", None).json();
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(1), "what was refused is no task: {tasks}");
}
