//! Promise: the console asks nobody but its node, shows who is dead, and shows what each replica of a key holds until they
//! agree again.

mod processes;

use std::process::Command;

use processes::{TestCluster, wait_until};
use serde_json::Value;

fn held(cluster: &TestCluster, node: usize) -> Value {
    let reply = cluster.request("GET", node, "/admin/v1/replicas/default/user%3A42", None);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn holds(held: &Value) -> Vec<&str> {
    let replicas = held["replicas"].as_array().expect("replicas");
    let mut holds: Vec<_> =
        replicas.iter().map(|replica| replica["holds"].as_str().expect("a word")).collect();
    holds.sort_unstable();
    holds
}

fn is_down(cluster: &TestCluster, node: usize, down: usize) -> bool {
    let down_address = cluster.peer_address(down).to_string();
    let status = cluster.request("GET", node, "/admin/v1/status", None).json();
    let members = status["members"].as_array().expect("members").clone();
    members.iter().any(|member| member["address"] == down_address && member["up"] == false)
}

/// The page after its scripts have run for a while; `None` where there is no browser.
fn rendered(url: &str) -> Option<String> {
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(url)
        .output();
    match output {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("skipped: the page was not rendered, since chromium does not start: {error}");
            None
        }
    }
}

#[test]
fn a_divergence_is_seen_and_seen_to_heal() {
    let cluster = TestCluster::start(3);
    let put = |value: &str, level: &str| {
        let path = format!("/v1/kv/default/user%3A42?consistency={level}");
        assert_eq!(cluster.request("PUT", 1, &path, Some(value.as_bytes())).status, 200);
    };
    assert_eq!(holds(&held(&cluster, 1)), ["nothing"; 3]);
    put("first", "all");
    let first = held(&cluster, 2);
    assert_eq!((first["agree"].clone(), holds(&first)), (Value::Bool(true), vec!["value"; 3]));
    assert_eq!(
        (&first["replicas"][0]["text"], &first["replicas"][0]["value_bytes"]),
        (&"first".into(), &5.into())
    );

    // Given a replica that missed a deletion, and hears of it from nobody,
    cluster.request("POST", 1, "/admin/v1/hints/pause", None);
    cluster.kill(3);
    wait_until("its death is known", || is_down(&cluster, 1, 3));
    assert_eq!(holds(&held(&cluster, 1)), ["unknown", "value", "value"]);
    if let Some(page) = rendered(&format!("{}/console#default/user%3A42", cluster.url(1))) {
        assert!(page.contains("2 of 3 nodes up"), "{page}");
        assert!(page.contains(&format!("down: {}", cluster.peer_address(3))), "{page}");
        assert!(page.contains("1 of 3 replicas did not answer."), "{page}");
    }
    assert_eq!(cluster.request("DELETE", 1, "/v1/kv/default/user%3A42?consistency=quorum", None).status, 200);
    cluster.spawn(3);
    cluster.wait_until_ready(3);
    wait_until("all see it", || !is_down(&cluster, 1, 3) && !is_down(&cluster, 2, 3));

    // then looking shows it, and does not mend it,
    for _ in 0..3 {
        let seen = held(&cluster, 1);
        assert_eq!(
            (seen["agree"].clone(), holds(&seen)),
            (Value::Bool(false), vec!["tombstone", "tombstone", "value"])
        );
    }
    // until somebody reads from all.
    let read = cluster.request("GET", 1, "/v1/kv/default/user%3A42?consistency=all", None);
    assert_eq!(read.status, 404);
    let healed = held(&cluster, 1);
    assert_eq!((healed["agree"].clone(), holds(&healed)), (Value::Bool(true), vec!["tombstone"; 3]));
}

#[test]
fn the_page_asks_nobody_else() {
    let cluster = TestCluster::start(1);
    let reply = cluster.request("GET", 1, "/console", None);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = reply.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"), "{policy}");
    let page = String::from_utf8_lossy(&reply.body).into_owned();
    for elsewhere in ["src=", "@import", "/* style.css */", "/* script */"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let missing = cluster.request("GET", 1, "/admin/v1/replicas/nothing/k", None);
    assert_eq!((missing.status, missing.json()["field"].clone()), (404, "table".into()));
}
