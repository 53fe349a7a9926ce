//! Promise: an operator removes a dead node, and only a dead one; the removed one says so itself when it comes back.

mod processes;

use std::{
    fs::File,
    io::Write,
    os::unix::ffi::OsStringExt,
    process::{Command, Output, Stdio},
};

use processes::{TestCluster, wait_until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

fn host_id(cluster: &TestCluster, number: usize) -> String {
    let address = cluster.peer_address(number);
    let members = cluster.members(1).expect("a status");
    let member = members.iter().find(|member| member["address"] == address.as_str()).expect("it is a member");
    member["host_id"].as_str().expect("a text").to_owned()
}

fn assassinate(cluster: &TestCluster, host_id: &str, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args(["admin", "assassinate", host_id, "--endpoint", &cluster.url(1)])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// The same at a terminal, at which somebody types a line.
fn assassinate_by_hand(cluster: &TestCluster, host_id: &str, typed: &str) -> Output {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_bytes();
    let keyboard =
        File::options().read(true).open(std::ffi::OsString::from_vec(name)).expect("its other end");
    let mut typist = File::from(terminal);
    typist.write_all(format!("{typed}\n").as_bytes()).expect("a line");
    Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args(["admin", "assassinate", host_id, "--endpoint", &cluster.url(1)])
        .stdin(keyboard)
        .output()
        .expect("the binary runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// How node 1 sees a peer.
fn gossiped(cluster: &TestCluster, host_id: &str) -> Value {
    let status = cluster.request("GET", 1, "/admin/v1/gossip-info", None).json();
    let members = status["members"].as_array().expect("a list").clone();
    members.into_iter().find(|member| member["host_id"] == host_id).unwrap_or_default()
}

#[test]
fn a_dead_node_is_removed_by_hand_and_knows_it_when_it_comes_back() {
    let cluster = TestCluster::start(3);
    let (live, victim) = (host_id(&cluster, 2), host_id(&cluster, 3));
    let peer = gossiped(&cluster, &live)["peer"].clone();
    assert!(peer["belief"] == "alive" && peer["phi"].is_number(), "{peer}");

    let refused = assassinate(&cluster, &live, &["--yes"]);
    assert!(!refused.status.success() && said(&refused).contains("conflict (409)"), "{}", said(&refused));
    let unknown = assassinate(&cluster, "00000000-0000-4000-8000-000000000000", &["--yes"]);
    assert!(
        !unknown.status.success() && said(&unknown).contains("no-such-member (404)"),
        "{}",
        said(&unknown)
    );
    let itself = assassinate(&cluster, &host_id(&cluster, 1), &["--yes", "--force"]);
    let why = said(&itself);
    assert!(!itself.status.success() && why.contains("a node does not remove itself"), "{why}");
    let nonsense = cluster.request("POST", 1, "/admin/v1/assassinate/nonsense", Some(b""));
    assert_eq!(nonsense.json()["type"], "/problems/bad-request");

    cluster.kill(3);
    wait_until("its death is known", || gossiped(&cluster, &victim)["peer"]["belief"] == "dead");
    let unasked = assassinate(&cluster, &victim, &[]);
    assert!(!unasked.status.success() && said(&unasked).contains("--yes"), "{}", said(&unasked));
    for typed in [&live, "yes", ""] {
        let mistyped = assassinate_by_hand(&cluster, &victim, typed);
        let answer = said(&mistyped);
        assert!(!mistyped.status.success() && answer.contains("nothing is removed"), "{typed}: {answer}");
    }
    assert_eq!(cluster.members(1).map(|members| members.len()), Some(3));
    let removed = assassinate_by_hand(&cluster, &victim, &victim);
    assert!(removed.status.success() && said(&removed).contains("one replica less"), "{}", said(&removed));
    let again = assassinate(&cluster, &victim, &["--yes"]);
    assert!(!again.status.success() && said(&again).contains("was removed already"), "{}", said(&again));
    wait_until("all know", || cluster.members(2).is_some_and(|members| members.len() == 2));
    assert_eq!(gossiped(&cluster, &victim)["state"], "removed");

    cluster.spawn(3);
    wait_until("it is told", || {
        let Ok(reply) = cluster.try_request("GET", 3, "/readyz", &[], None) else { return false };
        reply.status == 503 && reply.json()["detail"].as_str().is_some_and(|why| why.contains("was removed"))
    });
    let info = cluster.request("GET", 3, "/admin/v1/info", None).json();
    assert_eq!((&info["state"], &info["readiness"]), (&"removed".into(), &"starting".into()), "{info}");
    assert_eq!(cluster.members(1).map(|members| members.len()), Some(2));

    // Of two members one is no majority: it may be the one that is cut off.
    cluster.kill(2);
    wait_until("its death is known", || gossiped(&cluster, &live)["peer"]["belief"] == "dead");
    let refused = assassinate(&cluster, &live, &["--yes"]);
    let why = said(&refused);
    assert!(
        !refused.status.success() && why.contains("conflict (409)") && why.contains("1 of 2 members up"),
        "{why}"
    );
    let forced = assassinate(&cluster, &live, &["--yes", "--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    assert_eq!(cluster.members(1).map(|members| members.len()), Some(1));
}
