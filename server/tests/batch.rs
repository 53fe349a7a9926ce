//! Promise: every operation of `/v1/batch` has its own result, in order; operations on one key take effect in array
//! order; and a body that is no batch changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use helenus_server::http::Surface;
use serde_json::{Value, json};
use support::{
    Reply, ask,
    scripted::{AWAITS_A_READ, Scripted, serve},
    served_node::ServedNode,
    within_patience,
};

async fn batch(node: &ServedNode, body: &Value) -> Reply {
    node.ask("POST", "/v1/batch", &body.to_string()).await
}

/// The results of a batch that must be done.
async fn results(node: &ServedNode, operations: Value) -> Vec<Value> {
    let reply = batch(node, &json!({ "consistency": "one", "operations": operations })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!reply.header("helenus-coordinator").is_empty());
    reply.json()["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn operations_on_one_key_take_effect_in_array_order() {
    let f = ServedNode::start().await;
    let mut operations = Vec::new();
    for round in 0..20 {
        for key in ["a", "b", "c"] {
            let value = format!("{key}{round}");
            operations.push(json!({ "op": "put", "table": "default", "key": key, "value": value }));
            operations.push(json!({ "op": "get", "table": "default", "key": key }));
            operations.push(json!({ "op": "delete", "table": "default", "key": key }));
            operations.push(json!({ "op": "get", "table": "default", "key": key }));
        }
    }
    let results = results(&f, json!(operations)).await;
    assert_eq!(results.len(), operations.len());
    for (operation, result) in operations.chunks(4).zip(results.chunks(4)) {
        let statuses: Vec<_> = result.iter().map(|result| result["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [200, 200, 200, 404], "{result:?}");
        assert_eq!(result[1]["value"], operation[0]["value"]);
        assert_eq!(result[1]["timestamp"], result[0]["timestamp"]);
        assert_eq!((&result[3]["deleted"], &result[3]["timestamp"]), (&true.into(), &result[2]["timestamp"]));
        assert_eq!((&result[0]["required"], &result[0]["acknowledged"]), (&1.into(), &1.into()));
    }
}

#[tokio::test]
async fn a_key_goes_on_while_an_operation_on_another_one_takes_its_time() {
    let served = serve(Arc::new(Scripted::default()), Surface::Both).await;
    let slow = json!({ "op": "put", "table": "default", "key": AWAITS_A_READ, "value": "v" });
    let put = json!({ "op": "put", "table": "default", "key": "quick", "value": "w" });
    let get = json!({ "op": "get", "table": "default", "key": "quick" });

    let body = json!({ "consistency": "one", "operations": [slow, put, get] }).to_string();
    let head = format!("POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());

    let reply = within_patience("the read", ask(served.address, head + &body)).await;

    // The first one is done once the last one is made.
    let statuses: Vec<_> =
        reply.json()["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [200, 200, 200], "{reply:?}");
}

#[tokio::test]
async fn a_write_with_its_own_timestamp_waits_for_those_of_its_key_without_one() {
    let scripted = Arc::new(Scripted::default());
    let served = serve(scripted.clone(), Surface::Both).await;
    let put = |key: &str, timestamp: Option<u64>| {
        let put = json!({ "op": "put", "table": "default", "key": key, "value": "v" });
        let with = |timestamp| {
            [put.clone(), json!({ "timestamp": timestamp })].map(|of| of.as_object().unwrap().clone())
        };
        timestamp.map_or(put.clone(), |timestamp| with(timestamp).into_iter().flatten().collect())
    };
    let stamps = [Some(1), Some(2), None, None, Some(3), None];
    let operations: Vec<Value> =
        stamps.into_iter().map(|stamp| put("k", stamp)).chain([put("other", Some(4))]).collect();
    let body = json!({ "consistency": "one", "operations": operations }).to_string();
    let head = format!("POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());

    let reply = within_patience("the batch", ask(served.address, head + &body)).await;

    assert!(
        reply.json()["results"].as_array().unwrap().iter().all(|result| result["status"] == 200),
        "{reply:?}"
    );
    assert_eq!(*scripted.together.lock(), [5, 2], "four of the key and the other one, then the rest");
}

#[tokio::test]
async fn keys_and_values_are_text_or_base64() {
    let f = ServedNode::start().await;
    let results = results(
        &f,
        json!([
            { "op": "put", "table": "default", "key_base64": "Lv8=", "value_base64": "/wA=", "ttl": 60 },
            { "op": "get", "table": "default", "key_base64": "Lv8=" },
            { "op": "put", "table": "default", "key": "t", "value": "", "timestamp": 7 },
            { "op": "get", "table": "default", "key_base64": "dA==" },
            { "op": "get", "table": "default", "key": "never" },
        ]),
    )
    .await;
    assert_eq!((&results[1]["value_base64"], &results[1]["value"]), (&"/wA=".into(), &Value::Null));
    assert!((1..=60).contains(&results[1]["ttl"].as_u64().unwrap()));
    assert_eq!((&results[2]["timestamp"], &results[3]["value"]), (&7.into(), &"".into()));
    assert_eq!(results[3]["content_type"], "application/octet-stream");
    assert_eq!(
        (&results[4]["status"], &results[4]["problem"]["type"]),
        (&404.into(), &"/problems/not-found".into())
    );
    assert_eq!(f.ask("GET", "/v1/kv/default/%2E%FF", "").await.body, b"\xff\0");
}

#[tokio::test]
async fn a_bad_operation_is_its_own_error_and_the_others_are_done() {
    let f = ServedNode::start().await;
    let long = "k".repeat(4097);
    let large = "v".repeat((64 << 10) + 1);
    let cases = [
        (json!({ "op": "increment", "table": "default", "key": "k" }), 400, "op"),
        (json!({ "op": "get", "table": "T", "key": "k" }), 400, "table"),
        (json!({ "op": "get", "table": "other", "key": "k" }), 404, "table"),
        (json!({ "op": "get", "table": "default" }), 400, "key"),
        (json!({ "op": "get", "table": "default", "key": "" }), 400, "key"),
        (json!({ "op": "get", "table": "default", "key": long }), 414, "key"),
        (json!({ "op": "get", "table": "default", "key": "k", "key_base64": "aw==" }), 400, "key"),
        (json!({ "op": "get", "table": "default", "key_base64": "a" }), 400, "key_base64"),
        (json!({ "op": "get", "table": "default", "key": "k", "ttl": 1 }), 400, "ttl"),
        (json!({ "op": "delete", "table": "default", "key": "k", "value": "" }), 400, "value"),
        (json!({ "op": "put", "table": "default", "key": "k" }), 400, "value"),
        (json!({ "op": "put", "table": "default", "key": "k", "value": large }), 413, "value"),
        (json!({ "op": "put", "table": "default", "key": "k", "value": "", "ttl": 0 }), 400, "ttl"),
        (
            json!({ "op": "put", "table": "default", "key": "k", "value": "", "timestamp": 0 }),
            400,
            "timestamp",
        ),
        (json!({ "op": "delete", "table": "default", "key": "k", "timestamp": u64::MAX }), 400, "timestamp"),
    ];
    let mut operations: Vec<_> = cases.iter().map(|(operation, ..)| operation.clone()).collect();
    operations.push(json!({ "op": "put", "table": "default", "key": "good", "value": "v" }));
    let results = results(&f, json!(operations)).await;
    for ((operation, status, field), result) in cases.iter().zip(&results) {
        let found = (&result["status"], &result["problem"]["field"]);
        assert_eq!(found, (&json!(status), &json!(field)), "{:.80} {result}", operation.to_string());
        assert_eq!(result["problem"]["status"], *status);
    }
    assert_eq!(results[cases.len()]["status"], 200);
    assert_eq!(f.ask("GET", "/v1/kv/default/k", "").await.status, 404);
    let any =
        json!({ "consistency": "any", "operations": [{ "op": "get", "table": "default", "key": "k" }] });
    let refused = &batch(&f, &any).await.json()["results"][0];
    assert_eq!(refused["problem"]["type"], "/problems/invalid-consistency");
}

#[tokio::test]
async fn a_body_that_is_no_batch_changes_nothing_and_names_the_place() {
    let f = ServedNode::start().await;
    let put = json!({ "op": "put", "table": "default", "key": "k", "value": "v" });
    let with = |name: &str, value: Value| {
        let mut bad = put.clone();
        bad[name] = value;
        json!({ "operations": [put, bad] }).to_string()
    };
    let many: Vec<_> = (0..1001).map(|_| &put).collect();
    let cases = [
        (String::new(), "body"),
        ("[]".to_owned(), "body"),
        ("{}".to_owned(), "body"),
        (json!({ "operations": [put] }).to_string() + "x", "body"),
        (json!({ "operations": put }).to_string(), "operations"),
        (json!({ "operations": many }).to_string(), "operations"),
        (json!({ "operations": [put], "consistency": "most" }).to_string(), "consistency"),
        (with("ttl", json!("60")), "operations[1].ttl"),
        (with("ttl", json!(-1)), "operations[1].ttl"),
        (with("op", json!(1)), "operations[1].op"),
        (with("key", json!(1)), "operations[1].key"),
        (with("vlaue", json!("v")), "operations[1].vlaue"),
    ];
    for (body, field) in cases {
        let reply = f.ask("POST", "/v1/batch", &body).await;
        assert_eq!(
            (reply.status, &reply.json()["field"]),
            (400, &json!(field)),
            "{body:.100} {:?}",
            reply.json()
        );
    }
    let large = " ".repeat((4 << 20) + 1);
    assert_eq!(f.ask("POST", "/v1/batch", &large).await.status, 413);
    assert_eq!(f.ask("GET", "/v1/kv/default/k", "").await.status, 404, "nothing was sent");
    assert_eq!(batch(&f, &json!({ "operations": [] })).await.json(), json!({ "results": [] }));
}

#[tokio::test]
async fn a_reply_is_bounded_however_often_a_large_value_is_asked_for() {
    let f = ServedNode::start().await;
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", &"v".repeat(64 << 10)).await.status, 200);
    let get = json!({ "op": "get", "table": "default", "key": "k" });
    let results = results(&f, json!(vec![get; 66])).await;
    let (fit, refused) = results.split_at(64);
    assert!(fit.iter().all(|result| result["status"] == 200), "4 MiB of values");
    assert!(refused.iter().all(|result| result["problem"]["type"] == "/problems/value-too-large"));
}
