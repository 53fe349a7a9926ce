//! Promise: whatever page an operator's browser shows, it changes nothing on a node: each route that does refuses a page of
//! another site before it does anything, and clients that are no browsers notice nothing of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::served_node::ServedNode;

const ELSEWHERE: (&str, &str) = ("Origin", "https://evil.example");

#[tokio::test]
async fn no_route_does_what_a_page_of_another_site_asks_for() {
    let f = ServedNode::start().await;
    let document = f.ask("GET", "/openapi.json", "").await.json();
    let mut refused = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{table}", "default").replace("{key}", "k").replace("{id}", "1");
        let target = target.replace("{name}", "one").replace("{host_id}", "x");
        for (method, described) in item.as_object().unwrap() {
            let (method, reads) = (method.to_uppercase(), ["get", "head"].contains(&method.as_str()));
            assert_eq!(described["responses"].get("403").is_none(), reads, "{method} {path} is documented");
            if reads {
                continue;
            }
            for header in [ELSEWHERE, ("Sec-Fetch-Site", "cross-site")] {
                let headers = [header, ("Content-Type", "text/plain")];
                let reply = f.ask_with(&method, &target, &headers, "{}").await;
                let problem = reply.json();
                assert_eq!((reply.status, &problem["field"]), (403, &header.0.into()), "{method} {target}");
                assert_eq!(
                    (reply.problem(), &problem["outcome"]),
                    ("cross-origin".to_owned(), &"not-applied".into())
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "{refused}");
    assert_eq!(f.ask("GET", "/v1/kv/default/k", "").await.status, 404, "nothing was written");
    assert_eq!(f.ask("GET", "/readyz", "").await.status, 200, "nor is the node drained");
}

#[tokio::test]
async fn who_is_no_page_and_a_page_of_the_node_itself_are_let_in() {
    let f = ServedNode::start().await;
    assert_eq!(f.ask("PUT", "/v1/kv/default/k", "v").await.status, 200);
    let own = [("Origin", "http://127.0.0.1:7071"), ("Sec-Fetch-Site", "same-origin")];
    let reply = f.ask_as("127.0.0.1:7071", "POST", "/admin/v1/flush", &own, "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    // Reading is for the browser to forbid: no reply allows another origin.
    let reply = f.ask_with("GET", "/v1/kv/default/k", &[ELSEWHERE], "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, ""));
    // The question whether another origin may.
    let asks = [ELSEWHERE, ("Access-Control-Request-Method", "DELETE")];
    assert_eq!(f.ask_with("OPTIONS", "/v1/tables/default", &asks, "").await.status, 405);
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_the_node_is_no_origin_of_its() {
    let f = ServedNode::start().await;
    let own = [("Origin", "http://rebound.example:7071"), ("Sec-Fetch-Site", "same-origin")];
    let reply = f.ask_as("rebound.example:7071", "POST", "/admin/v1/drain", &own, "").await;
    assert_eq!((reply.status, reply.json()["field"].as_str()), (403, Some("Host")), "{reply:?}");
    // A script that knows the node by a name is no page.
    assert_eq!(f.ask_as("n1:7071", "POST", "/admin/v1/flush", &[], "").await.status, 200);
}
