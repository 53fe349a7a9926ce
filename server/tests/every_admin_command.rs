//! Promise: every command of `helenus admin` works while a node is dead, prints lines of at most 80 columns for people
//! and JSON for programs, and says how it is used when it is misused.

mod processes;

use std::{collections::BTreeSet, process::Command};

use processes::{TestCluster, wait_until};
use serde_json::Value;

/// Each command, with what its first line begins with. `DEAD` stands for the host id of the dead node. In an order in
/// which each finds what it needs: the last ones end a membership, and a node.
const COMMANDS: &[(&str, &str)] = &[
    ("status", "Datacenter: dc1"),
    ("ring --table default", "Datacenter: dc1"),
    ("info", "ID"),
    ("describe-cluster", "Cluster Information:"),
    ("gossip-info", "127."),
    ("failure-detector", "Endpoint"),
    ("endpoints default k1", "127."),
    ("flush", "flushed all tables"),
    ("table-stats default", "Total number of tables: 1"),
    ("compaction-stats", "pending"),
    ("histograms", "proxy histograms"),
    ("histograms default", "default histograms"),
    ("compact default", "compacted table default"),
    ("scrub", "verified"),
    ("tasks list", "ID"),
    ("settings list", "SETTING"),
    ("settings set coordinator.slow_request_threshold 2s", "SETTING"),
    ("settings reset coordinator.slow_request_threshold", "SETTING"),
    ("set-log-level debug --target helenus_cluster", "the log shows info, helenus_cluster=debug"),
    ("snapshot create one", "made snapshot one"),
    ("snapshot list", "NAME"),
    ("snapshot clear one", "removed snapshot one"),
    ("hints", "Host ID"),
    ("pause-handoff", "the delivery of hints is paused"),
    ("resume-handoff", "hints are delivered"),
    ("truncate-hints DEAD", "dropped 1 hint"),
    ("assassinate DEAD --yes", "removed host"),
    ("drain", "drained:"),
];

/// Those that need a task which goes on while they run; `operating.rs` has them.
const OF_LONG_TASKS: [&str; 2] = ["tasks watch", "tasks cancel"];

#[test]
fn every_command_works_with_a_dead_node() {
    let cluster = TestCluster::start(3);
    cluster.kill(3);
    wait_until("its death is known", || {
        let peers = &cluster.request("GET", 1, "/admin/v1/failure-detector", None).json()["peers"];
        peers.as_array().is_some_and(|peers| peers.iter().any(|peer| peer["belief"] == "dead"))
    });
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k1", Some(b"v")).status, 200);
    wait_until("its hint is kept", || {
        cluster.request("GET", 1, "/admin/v1/hints", None).json()["targets"]
            .as_array()
            .is_some_and(|targets| !targets.is_empty())
    });
    let members = cluster.members(1).expect("the members");
    let dead = members.iter().find(|member| member["up"] == false).expect("the dead one");
    let dead = dead["host_id"].as_str().expect("an id");

    // Eighty, with addresses as short as most are.
    let addresses = members.iter().filter_map(|member| member["address"].as_str());
    let columns = 80 + addresses.map(str::len).max().unwrap_or(0).saturating_sub("127.0.0.1:7071".len());

    for (command, first) in COMMANDS {
        let words = command.split(' ').map(|word| if word == "DEAD" { dead } else { word });
        let arguments: Vec<&str> = words.collect();
        misused(&cluster, &arguments);
        let output = cluster.admin(1, &arguments);
        let text = String::from_utf8(output.stdout).expect("text");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {complaint}");
        assert!(text.trim_start().starts_with(first), "{command} begins with {first}:\n{text}");
        // Not so sentences.
        if text.lines().count() > 1 {
            for line in text.lines() {
                assert!(
                    line.chars().count() <= columns,
                    "{command}: {} columns: {line}",
                    line.chars().count()
                );
            }
        }
        // Again, for programs. What can be done once is refused then, also in words that are its own.
        let output = cluster.admin(1, &[&arguments[..], &["-o", "json"]].concat());
        if output.status.success() {
            let json: Result<Value, _> = serde_json::from_slice(&output.stdout);
            assert!(json.is_ok(), "{command}: {json:?}");
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && said.starts_with("error: "), "{command}: {said}");
        }
    }
}

/// A misspelt option, and a format that is none: 2, nothing on standard output, and where help is.
fn misused(cluster: &TestCluster, arguments: &[&str]) {
    for wrong in [&["--verbos"][..], &["-o", "xml"], &["--endpoint", "ftp://x"]] {
        let output = cluster.admin(1, &[arguments, wrong].concat());
        let hint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {wrong:?}: {hint}");
        assert!(output.stdout.is_empty() && hint.contains("--help"), "{arguments:?} {wrong:?}: {hint}");
    }
}

#[test]
fn no_command_is_left_out_here() {
    let mut expected: BTreeSet<String> = OF_LONG_TASKS.map(str::to_owned).into();
    expected.extend(COMMANDS.iter().map(|(command, _)| {
        let words: Vec<&str> = command.split(' ').collect();
        let is_group = matches!(words[0], "tasks" | "settings" | "snapshot");
        words[..if is_group { 2 } else { 1 }].join(" ")
    }));
    let mut found = BTreeSet::new();
    for command in listed(&[]) {
        let below = listed(&[&command]);
        if below.is_empty() {
            found.insert(command);
        } else {
            found.extend(below.iter().map(|below| format!("{command} {below}")));
        }
    }
    assert_eq!(found, expected);
}

/// The commands that `--help` lists.
fn listed(of: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_helenus")).arg("admin").args(of).arg("--help").output();
    let help = String::from_utf8(output.expect("the binary runs").stdout).expect("text");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    let names = names.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
