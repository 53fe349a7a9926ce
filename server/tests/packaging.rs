//! Promise: the files in config/ that others read, and the papers of the command line, say what is so: every metric that
//! dashboard and alerts name is exported by a node, every setting that the containers are given exists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod processes;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use processes::{TestCluster, wait_until};
use serde_json::Value;

fn config(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words that begin with `helenus_`, as metrics do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("helenus_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_a_node_exports() {
    let cluster = TestCluster::start(2);
    assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k", Some(b"v")).status, 200);
    cluster.kill(2);
    wait_until("its death is known", || {
        let page = String::from_utf8(cluster.request("GET", 1, "/metrics", None).body).unwrap();
        page.lines().any(|line| line == "helenus_members{state=\"down\"} 1")
    });
    let page = String::from_utf8(cluster.request("GET", 1, "/metrics", None).body).unwrap();
    let exported = metrics_in(&page);
    assert!(page.contains("helenus_peer_up{peer="), "{page}");

    let dashboard: Value = serde_json::from_str(&config("grafana/dashboards/helenus.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() >= 20, "{queries:?}");
    let alerts = config("prometheus/alerts.yml");
    assert!(alerts.matches("- alert:").count() >= 10);
    for text in queries.into_iter().chain([alerts.as_str()]) {
        let unknown: Vec<_> = metrics_in(text).difference(&exported).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} of {text} are exported by no node");
    }
    every_family_is_named_as_prometheus_wants(&page);
}

/// What `promtool check metrics` asks for, also where there is no promtool.
fn every_family_is_named_as_prometheus_wants(page: &str) {
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, kind) = (words[2], words[3]);
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert!(!name.contains("milli") && !name.contains("kilo"), "{name} is in base units");
    }
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn alerts_fire_when_they_should() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/prometheus/alerts_test.yml");
    let Ok(tested) = Command::new("promtool").args(["test", "rules"]).arg(tests).output() else {
        eprintln!("skipped: there is no promtool");
        return;
    };
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

#[test]
fn containers_are_given_settings_that_exist() {
    let compose = config("docker-compose.yml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
    command.args(["config", "check"]);
    let mut names = BTreeSet::new();
    for line in compose.lines().map(str::trim).filter(|line| line.starts_with("HELENUS_")) {
        let (name, value) = line.split_once(": ").unwrap();
        names.insert(name);
        command.env(name, value.trim_matches('"'));
    }
    assert!(names.len() >= 5, "{names:?}");
    let dockerfile = config("Dockerfile");
    assert!(dockerfile.contains("FROM scratch") && dockerfile.contains("STOPSIGNAL SIGTERM"));
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("ENV HELENUS_NODE")) {
        let (name, value) = line.split_once('=').unwrap();
        command.env(format!("HELENUS_NODE{name}"), value);
    }
    let checked = command.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(config("prometheus/prometheus.yml").lines().any(|line| line.trim() == "- alerts.yml"));
}

#[test]
fn systemd_is_told_when_the_node_serves_and_when_it_stops() {
    let unit = config("systemd/helenus.service");
    for line in ["Type=notify", "KillSignal=SIGTERM", "Restart=on-failure"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(processes::PATIENCE)).unwrap();
    let data = format!("node.data_directory={}", directory.path().join("data").display());
    let mut node = Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args([
            "serve",
            "--set",
            "http.listen=127.0.0.1:0",
            "--set",
            "peer.listen=127.0.0.1:0",
            "--set",
            &data,
        ])
        .env("NOTIFY_SOCKET", &socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).expect("the node says something");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let first = told();
    let pid = rustix::process::Pid::from_raw(i32::try_from(node.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let second = told();
    let status = node.wait().unwrap();
    assert!(first.contains("READY=1"), "{first}");
    assert!(second.contains("STOPPING=1"), "{second}");
    assert!(status.success(), "{status}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_helenus"))
            .args(arguments)
            .env("HELENUS_ENDPOINT", "http://elsewhere:9")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.contains("compaction-stats"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    let pages: PathBuf = directory.path().join("man1");
    run(&["man", &pages.to_string_lossy()]);
    for page in ["helenus.1", "helenus-serve.1", "helenus-admin-table-stats.1", "helenus-inspect-sstable.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    for page in fs::read_dir(&pages).unwrap() {
        let path = page.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("elsewhere"), "{text}");
        assert!(text.contains(concat!(" \"helenus ", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
        // Each subcommand that it names has its page, and its example is one that can be typed.
        assert!(!text.contains("help(1)"), "{text}");
        let (_, examples) = text.split_once(".SH EXAMPLES\n.nf\n").unwrap_or_else(|| panic!("{text}"));
        assert!(examples.contains("helenus "), "{text}");
    }
    let text = fs::read_to_string(pages.join("helenus-admin-compact.1")).unwrap();
    assert!(text.contains("compact\\fR [OPTIONS] [TABLE]\n"), "{text}");
    let wrong = Command::new(env!("CARGO_BIN_EXE_helenus")).args(["completions", "cobol"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
