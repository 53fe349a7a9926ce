//! Promise: `/openapi.json` tells of every route and of nothing else, and each of its references leads somewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::served_node::ServedNode;

/// Routes that only say what is wrong with a path.
const NOT_FOR_PROGRAMS: [&str; 6] = [
    "/v1/kv/",
    "/v1/kv//{key}",
    "/v1/kv/{table}/",
    "/v1/tables/",
    "/v1/{operation}",
    "/admin/v1/{operation}",
];

async fn document(f: &ServedNode) -> Value {
    let reply = f.ask("GET", "/openapi.json", "").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    reply.json()
}

#[tokio::test]
async fn every_route_of_the_router_is_in_the_document() {
    let f = ServedNode::start().await;
    let document = document(&f).await;
    let documented: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let source: String = include_str!("../src/http/mod.rs").split_whitespace().collect();
    let routes: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("{*", "{"))
        .collect();
    assert!(routes.len() > 30, "{routes:?}");
    let expected: BTreeSet<&str> =
        routes.iter().map(String::as_str).filter(|route| !NOT_FOR_PROGRAMS.contains(route)).collect();
    assert_eq!(documented, expected);
}

#[tokio::test]
async fn the_document_names_the_methods_that_a_route_has() {
    let f = ServedNode::start().await;
    let document = document(&f).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{table}", "default").replace("{key}", "k").replace("{host_id}", "x");
        let target = target.replace("{name}", "x").replace("{id}", "x");
        // A method that no route has.
        let reply = f.ask("PROPFIND", &target, "").await;
        assert_eq!(reply.status, 405, "{target}");
        let allowed: BTreeSet<String> =
            reply.header("allow").split(',').map(|name| name.trim().to_lowercase()).collect();
        let mut named: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
        // Every GET is a HEAD too.
        if named.contains("get") {
            named.insert("head".to_owned());
        }
        assert_eq!(named, allowed, "{path}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_name_is_used() {
    let f = ServedNode::start().await;
    let document = document(&f).await;
    let mut found = BTreeMap::new();
    references(&document, &mut found);
    for reference in found.keys() {
        let place = reference.trim_start_matches('#');
        assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
    }
    for kind in ["schemas", "parameters", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(found.contains_key(&reference), "{reference} is used nowhere");
        }
    }
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    let unique: BTreeSet<&str> = ids.iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(unique.len(), ids.len());
}

fn references(value: &Value, found: &mut BTreeMap<String, usize>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                *found.entry(reference.clone()).or_default() += 1;
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
