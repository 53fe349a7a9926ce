//! Promise: `Helenus-Session` comes with every reply of a read or write; who sends it back never reads older than that
//! session wrote or read, or hears 503 session-unavailable; what no node gave out is 400.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod processes;
mod support;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use helenus_cluster::session::Session;
use processes::{Reply, TestCluster, wait_until};
use serde_json::json;
use support::served_node::ServedNode;

const KEY: &str = "/v1/kv/default/k?consistency=one";

fn session_of(reply: &Reply) -> String {
    reply.header("helenus-session").unwrap_or_else(|| panic!("no session: {reply:?}")).to_owned()
}

#[tokio::test]
async fn every_reply_has_a_token_and_anything_else_is_refused() {
    let node = ServedNode::start().await;
    let ask = async |method: &str, token: &str| {
        node.ask_with(method, KEY, &[("Helenus-Session", token)], "v").await
    };
    let first = node.ask("PUT", KEY, "v").await;
    let token = first.header("helenus-session").to_owned();
    assert!(!token.is_empty() && token.len() <= 4096);
    for (method, status) in [("GET", 200), ("PUT", 200), ("DELETE", 200), ("GET", 404)] {
        let reply = ask(method, &token).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(!reply.header("helenus-session").is_empty());
    }

    let mut cut = token.clone();
    cut.pop();
    let mut changed = URL_SAFE_NO_PAD.decode(&token).unwrap();
    changed[3] ^= 1;
    let too_long = "A".repeat(4100);
    let foreign = URL_SAFE_NO_PAD.encode(of_another_cluster());
    for bad in [cut.as_str(), "", "%%%", &URL_SAFE_NO_PAD.encode(changed), &too_long, &foreign] {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = ask(method, bad).await;
            assert_eq!(reply.status, 400, "{bad}: {reply:?}");
            assert_eq!(reply.json()["field"], "Helenus-Session", "{reply:?}");
        }
    }
}

fn of_another_cluster() -> Vec<u8> {
    use helenus_cluster::{
        consistency::Consistency,
        node_id::ClusterId,
        session::{Held, Observed, Version},
        time::Timestamp,
    };
    use helenus_storage::Record;
    let mut session = Session::default();
    let cluster = ClusterId(uuid::Uuid::from_u128(1));
    let held = Held::at(Consistency::One, "");
    let version = Version::of(&Record::plain(Timestamp(1), ""));
    session.note(&Observed { cluster, key: 1, version, held, is_newest: false });
    session.to_token()
}

#[tokio::test]
async fn a_token_stays_within_its_bound_and_a_batch_has_one_of_all_its_operations() {
    let node = ServedNode::start().await;
    let operations: Vec<_> = (0..1000)
        .map(|key| json!({ "op": "put", "table": "default", "key": format!("k{key}"), "value": "v" }))
        .collect();
    let reply = node.ask("POST", "/v1/batch", &json!({ "operations": operations }).to_string()).await;
    assert_eq!(reply.status, 200);
    let token = reply.header("helenus-session").to_owned();
    assert!(token.len() <= 4096, "{}", token.len());

    let results = reply.json()["results"].clone();
    let newest = results.as_array().unwrap().iter().filter_map(|result| result["timestamp"].as_u64()).max();
    let session = Session::from_token(&URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
    assert_eq!(Some(session.clock().0), newest);
    let get = json!({ "operations": [{ "op": "get", "table": "default", "key": "k0" }] }).to_string();
    let reply = node.ask_with("POST", "/v1/batch", &[("Helenus-Session", &token)], &get).await;
    assert_eq!(reply.json()["results"][0]["value"], "v", "{reply:?}");
}

#[test]
fn a_session_reads_its_writes_beside_a_paused_node_and_is_refused_where_they_are_missing() {
    let cluster = TestCluster::start(3);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k?consistency=all", Some(b"old")).status, 200);

    // One is paused: each read through another node, at one, sees what the session wrote through yet another.
    cluster.pause(3);
    let mut session = None::<String>;
    let mut ask = |method, node, path: &str, body: Option<&[u8]>| {
        let headers: Vec<(&str, &str)> =
            session.iter().map(|token| ("Helenus-Session", token.as_str())).collect();
        let reply = cluster.try_request(method, node, path, &headers, body).unwrap();
        session = Some(session_of(&reply));
        reply
    };
    for round in 0..40 {
        let (path, value) = (format!("/v1/kv/default/r{}?consistency=one", round % 5), format!("{round}"));
        assert_eq!(ask("PUT", 1 + round % 2, &path, Some(value.as_bytes())).status, 200);
        let reply = ask("GET", 2 - round % 2, &path, None);
        assert_eq!((reply.status, reply.body), (200, value.into_bytes()));
    }
    cluster.resume(3);

    // A node that has missed a write, and is alone.
    cluster.kill(3);
    wait_until("its death is known", || {
        cluster.members(1).is_some_and(|members| members.iter().any(|member| member["up"] == false))
    });
    assert_eq!(ask("PUT", 1, KEY, Some(b"new")).status, 200);
    cluster.kill(1);
    cluster.kill(2);
    cluster.spawn(3);
    cluster.wait_until_ready(3);
    let reply = ask("GET", 3, KEY, None);
    assert_eq!(reply.status, 503, "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["type"], "/problems/session-unavailable");
    assert_eq!((&problem["outcome"], &problem["received"]), (&"none".into(), &1.into()));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(cluster.request("GET", 3, KEY, None).body, b"old", "without a session it is read");

    // The others come back: the same session, through the one that missed it.
    cluster.spawn(1);
    cluster.spawn(2);
    cluster.wait_until_seen_up(3, 3);
    let reply = ask("GET", 3, KEY, None);
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"new"[..]));
}
