//! Promise: the console asks nobody but its node, shows who is dead, and shows what each replica of a key holds until they
//! agree again.

mod processes;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    thread,
};

use processes::{TestCluster, wait_until};
use serde_json::Value;
use tempfile::TempDir;

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
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"])
        .arg(url)
        .output();
    match output {
        Ok(output) => {
            let page = String::from_utf8_lossy(&output.stdout).into_owned();
            // The scripts are part of it, with all that they could have said.
            Some(page.split("<script>").next().unwrap_or_default().to_owned())
        }
        Err(error) => {
            println!("skipped: the page was not rendered, since chromium does not start: {error}");
            None
        }
    }
}

/// What the page's scripts say to an expression, with no node to ask; `None` where there is no browser.
fn evaluated(expression: &str) -> Option<String> {
    let scripts = [
        include_str!("../src/console/feed.js"),
        include_str!("../src/console/ring.js"),
        include_str!("../src/console/charts.js"),
        include_str!("../src/console/page.js"),
    ];
    let said = format!("{}at('build').textContent = (() => {{ {expression} }})();", scripts.concat());
    let page = include_str!("../src/console/page.html").replace("/* script */", &said);
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("console.html");
    fs::write(&path, page).expect("a file");
    let page = rendered(&format!("file://{}", path.display()))?;
    let (_, said) = page.split_once("<span id=\"build\">").expect("its place");
    Some(said.split("</span>").next().unwrap_or_default().to_owned())
}

/// A way to node 1 that is there only for some of the looks that a page takes at it, counted from 1: what is asked in the
/// others gets no answer. Returns where it begins.
fn way_that_is_there(cluster: &TestCluster, look_is_answered: fn(usize) -> bool) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let way = format!("http://{}", socket.local_addr().expect("an address"));
    let node = cluster.url(1);
    // It ends with the process of the test.
    thread::spawn(move || {
        let mut looks = 0;
        for stream in socket.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(line) = head.next() else { continue };
            let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            let _: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            looks += usize::from(path == "/admin/v1/status");
            if !look_is_answered(looks) {
                continue;
            }
            let mut reply = ureq::get(format!("{node}{path}")).call().expect("the node answers");
            let kind = reply.headers()["content-type"].to_str().expect("text").to_owned();
            let body = reply.body_mut().read_to_vec().expect("a body");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // The browser may have enough.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    way
}

#[test]
fn a_page_whose_node_is_gone_says_since_when_it_is_stale_and_recovers_with_it() {
    let cluster = TestCluster::start(1);
    let gone = way_that_is_there(&cluster, |look| look < 3);
    let Some(page) = rendered(&format!("{gone}/console")) else { return };
    assert!(page.contains("<body class=\"stale\">") && page.contains("Helenus – no answer"), "{page}");
    let host = gone.trim_start_matches("http://");
    let said = format!("This page's node, {host}, does not answer. What is below is stale since ");
    assert!(page.contains(&said), "{page}");
    assert!(page.contains(&cluster.peer_address(1)), "what was known is still there: {page}");

    let back = way_that_is_there(&cluster, |look| !(2..4).contains(&look));
    let page = rendered(&format!("{back}/console")).expect("it started before");
    assert!(page.contains("1 of 1 nodes up") && !page.contains("does not answer. "), "{page}");
    assert!(!page.contains("class=\"stale\"") && page.contains("role=\"alert\" hidden"), "{page}");
}

#[test]
fn a_drained_node_says_so_and_claims_nothing_of_others() {
    let cluster = TestCluster::start(2);
    assert!(cluster.admin(1, &["drain"]).status.success());
    let Some(page) = rendered(&format!("{}/console", cluster.url(1))) else { return };
    assert!(page.contains("this node is drained: who is up it does not know"), "{page}");
    assert!(page.contains(">drained</td>") && page.contains(">unknown</td>"), "{page}");
    assert!(!page.contains("nodes up") && !page.contains("down: "), "{page}");
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
        assert!(page.contains(">default/user:42</h3>"), "an answer says what was asked: {page}");
        assert!(page.contains(&format!("down: {}", cluster.peer_address(3))), "{page}");
        assert!(page.contains("✓ The 2 that answered hold the same."), "{page}");
        assert!(page.contains("? 1 replica of 3 did not answer."), "{page}");
        // The dead one is striped, on the ring and beside its name, and said to be; all three are replicas, so all thick.
        assert!(page.contains("fill=\"url(#down-") && page.contains("class=\"swatch down\""), "{page}");
        assert!(page.contains("; striped: down; thick: replicas of "), "{page}");
    }
    let seen = held(&cluster, 1);
    let counts = (&seen["agree"], &seen["answered"], &seen["unanswered"]);
    assert_eq!(counts, (&true.into(), &2.into(), &1.into()), "who is silent contradicts nobody");
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
    if let Some(page) = rendered(&format!("{}/console#default/user%3A42", cluster.url(1))) {
        assert!(page.contains("≠ The replicas differ.") && !page.contains("did not answer"), "{page}");
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

#[test]
fn a_table_that_there_is_not_is_said_not_to_be() {
    let cluster = TestCluster::start(1);
    let Some(page) = rendered(&format!("{}/console#nowhere/user%3A42", cluster.url(1))) else { return };
    assert!(page.contains("nowhere/user:42: there is no table `nowhere`."), "{page}");
}

#[test]
fn the_chosen_table_stays_chosen_when_others_come_and_also_when_it_goes() {
    let said = evaluated(
        "const offered = (...names) => {
           drawSummary({ members: [] }, {}, { schema_versions: [], tables: names.map((name) => ({ name })) });
           return `${at('table').value} of ${[...at('table').options].map((option) => option.value).join()}`;
         };
         const seen = [offered('b', 'c')];
         at('table').value = 'c';
         seen.push(offered('a', 'b', 'c'), offered('a', 'b'));
         at('table').value = 'a';
         seen.push(offered('a', 'b'));
         return seen.join('; ');",
    );
    let Some(said) = said else { return };
    assert_eq!(said, "b of b,c; c of a,b,c; c of a,b,c; a of a,b");
}

#[test]
fn a_latency_is_drawn_for_the_seconds_that_had_requests_and_for_no_others() {
    let said = evaluated(
        "const key = 'helenus_coordinator_request_duration_seconds{op=\"get\"}';
         [0, 5, 9, 9, 9, 12, 12, 20].forEach((count, at) => {
           const histograms = new Map([[key, [[0.001, count], [Infinity, count]]]]);
           chart({ at, generation: 1, histograms });
         });
         const reads = at('charts').children[1], p99 = [...reads.querySelectorAll('path')].pop().getAttribute('d');
         return p99.replaceAll(/[0-9.]+,[0-9.]+/g, 'p');",
    );
    let Some(said) = said else { return };
    assert_eq!(said, "MpLpMph1Mph1");
}

#[test]
fn a_number_has_three_digits_and_a_time_has_the_units_of_a_clock() {
    let said = evaluated(
        "const times = [0, 0.00025, 0.9999995, 1.5, 59.4, 59.7, 303, 3599.7, 3700, 90000, Infinity].map(duration);
         return [...times, ...[0, 7, 999, 1500, 999600].map(count)].join(', ');",
    );
    let Some(said) = said else { return };
    assert_eq!(
        said,
        "0 µs, 250 µs, 1.00 s, 1.50 s, 59.4 s, 1 min 0 s, 5 min 3 s, 1 h 0 min, 1 h 1 min, 1 d 1 h, –, \
         0, 7, 999, 1.50 k, 1.00 M"
    );
}
