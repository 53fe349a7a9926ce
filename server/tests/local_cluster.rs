//! Promise: `helenus local` runs a cluster of real, detached processes, and prints lines that work when pasted.

mod processes;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use processes::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A cluster below a temporary directory; it is taken down however the test ends.
struct Local {
    directory: TempDir,
    base: u16,
}

impl Local {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory"), base: free_ports() }
    }

    fn cluster(&self) -> std::path::PathBuf {
        self.directory.path().join("cluster")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
        command.arg("local").args(arguments).arg("--dir").arg(self.cluster());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs a command that must succeed; its standard output.
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "local {arguments:?}: {}\n{out}\n{err}", output.status);
        out
    }

    fn up(&self) -> String {
        let (http, peers) = (self.base.to_string(), (self.base + 10).to_string());
        self.must(&["up", "--http-base", &http, "--peer-base", &peers])
    }

    fn url(&self, node: u16) -> String {
        format!("http://127.0.0.1:{}", self.base + node)
    }

    /// State of each node by `local status -o json`.
    fn states(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&self.must(&["status", "-o", "json"])).expect("JSON");
        let nodes = status.as_array().or_else(|| status["nodes"].as_array()).expect("a list of nodes");
        nodes.iter().map(|node| node["state"].as_str().expect("a state").to_owned()).collect()
    }

    /// The process of a node.
    fn pid(&self, node: u16) -> Option<i32> {
        let file = fs::read_to_string(self.cluster().join(format!("node{node}/pid"))).ok()?;
        file.lines().next()?.parse().ok()
    }

    fn client(&self, node: u16, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helenus"))
            .args(arguments)
            .env("HELENUS_ENDPOINT", self.url(node))
            .output()
            .expect("the binary starts")
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.cluster().exists() {
            self.run(&["down", "--wipe"]);
        }
    }
}

fn send(signal: Signal, pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("a signal");
}

#[test]
fn a_local_cluster_lives_through_up_kill_start_pause_resume_and_down() {
    let local = Local::new();

    // up: three nodes, ready, each sees all; the banner's lines work when pasted.
    let banner = local.up();
    assert!(banner.contains(&local.url(1)), "{banner}");
    assert_eq!(local.states(), ["running", "running", "running"]);
    paste(&banner);

    // A value written through one node reads through another.
    let put = local.client(1, &["put", "default", "ship", "--value", "thousand", "--consistency", "all"]);
    assert!(put.status.success(), "{}", text(&put.stderr));
    let get = local.client(3, &["get", "default", "ship"]);
    assert_eq!(text(&get.stdout), "thousand");
    let absent = local.client(3, &["get", "default", "no such key"]);
    assert_eq!(absent.status.code(), Some(1));

    // kill, start, pause, resume.
    local.must(&["kill", "3"]);
    assert_eq!(local.states(), ["running", "running", "stopped"]);
    local.must(&["start", "3"]);
    local.must(&["pause", "2"]);
    assert_eq!(local.states(), ["running", "paused", "running"]);
    local.must(&["resume", "2"]);
    assert!(local.must(&["logs", "1"]).contains("formed a new cluster"));
    let status = local.client(1, &["admin", "status"]);
    assert!(text(&status.stdout).contains("Datacenter: dc1"), "{}", text(&status.stdout));

    // down stops paused nodes too, and up finds the data again.
    local.must(&["pause", "2"]);
    local.must(&["down"]);
    assert_eq!(local.states(), ["stopped", "stopped", "stopped"]);
    local.up();
    assert_eq!(text(&local.client(2, &["get", "default", "ship"]).stdout), "thousand");

    // down --wipe leaves nothing.
    local.must(&["down", "--wipe"]);
    assert!(!local.cluster().exists());
}

#[test]
fn an_up_that_fails_stops_what_it_has_started_and_says_where_the_logs_are() {
    let local = Local::new();
    local.up();
    local.must(&["down"]);
    // Node 2 finds a file where its data should be.
    let data = local.cluster().join("node2/data");
    fs::remove_dir_all(&data).expect("removed");
    fs::write(&data, "").expect("a file");
    let output = local.run(&["up"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("node 2 ended"), "{errors}");
    assert!(errors.contains(" stopped again; the logs are "), "{errors}");
    assert_eq!(local.states(), ["stopped", "stopped", "stopped"]);
    let why = errors.lines().find(|line| line.contains("os error")).expect("the reason");
    assert_eq!(why.matches("os error").count(), 1, "said once: {why}");
}

#[test]
fn a_node_that_the_cluster_does_not_have_is_named_in_the_error() {
    let local = Local::new();
    local.up();
    let output = local.run(&["kill", "9"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains('9'), "{}", text(&output.stderr));
    assert_eq!(local.states(), ["running", "running", "running"]);
}

#[test]
fn a_port_that_is_taken_leaves_no_cluster_behind() {
    let local = Local::new();
    let taken = TcpListener::bind(("127.0.0.1", local.base + 2)).expect("a free port");
    let (http, peers) = (local.base.to_string(), (local.base + 10).to_string());
    let output = local.run(&["up", "--http-base", &http, "--peer-base", &peers]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--http-base"), "{}", text(&output.stderr));
    assert!(!local.cluster().join("cluster.json").exists());
    drop(taken);
    // Otherwise than before.
    local.must(&["up", "--nodes", "1", "--http-base", &http, "--peer-base", &peers]);
}

#[test]
fn a_killed_node_starts_at_once_and_a_drained_one_is_not_waited_for() {
    let local = Local::new();
    let (http, peers) = (local.base.to_string(), (local.base + 10).to_string());
    local.must(&["up", "--nodes", "1", "--http-base", &http, "--peer-base", &peers]);
    for _ in 0..5 {
        local.must(&["kill", "1"]);
        local.must(&["start", "1"]);
    }
    assert!(local.client(1, &["admin", "drain"]).status.success());
    let drained = local.run(&["start", "1"]);
    let said = text(&drained.stderr);
    assert_eq!(drained.status.code(), Some(1), "{said}");
    assert!(said.contains("is drained") && said.contains("kill 1 --signal TERM"), "{said}");
    local.must(&["kill", "1", "--signal", "TERM"]);
    local.must(&["start", "1"]);
}

#[test]
fn a_node_that_is_about_to_end_is_started_when_it_has() {
    let local = Local::new();
    let (http, peers) = (local.base.to_string(), (local.base + 10).to_string());
    local.must(&["up", "--nodes", "1", "--http-base", &http, "--peer-base", &peers]);
    // It serves to its end what it has begun.
    let mut begun = TcpStream::connect(("127.0.0.1", local.base + 1)).expect("a connection");
    let head =
        "PUT /v1/kv/default/last HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    begun.write_all(head.as_bytes()).expect("it is sent");
    let mut interim = [0; 25];
    begun.read_exact(&mut interim).expect("the node has read the head");
    send(Signal::TERM, local.pid(1).expect("it runs"));
    wait_until("it listens no more", || TcpStream::connect(("127.0.0.1", local.base + 1)).is_err());

    let mut start = local
        .command(&["start", "1"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let (mut stderr, mut said) = (BufReader::new(start.stderr.take().expect("piped")), String::new());
    stderr.read_line(&mut said).expect("a line");
    assert!(said.contains("running and not ready"), "{said}");
    begun.write_all(b"sent").expect("it is sent");

    assert!(start.wait().expect("it ends").success());
    let read = local.client(1, &["get", "default", "last"]);
    assert_eq!(text(&read.stdout).trim_end(), "sent", "{}", text(&read.stderr));
}

#[test]
fn a_start_whose_node_ends_leaves_that_of_a_later_start_alone() {
    let local = Local::new();
    let (http, peers) = (local.base.to_string(), (local.base + 10).to_string());
    local.must(&["up", "--nodes", "1", "--http-base", &http, "--peer-base", &peers]);
    let first = local.pid(1).expect("it runs");
    local.must(&["kill", "1"]);

    let mut start = local.command(&["start", "1"]).stderr(Stdio::null()).spawn().expect("it starts");
    wait_until("there is a second", || local.pid(1).is_some_and(|pid| pid != first));
    send(Signal::KILL, local.pid(1).expect("it runs"));
    local.must(&["start", "1"]);

    assert!(!start.wait().expect("it ends").success());
    assert_eq!(local.states(), ["running"]);
}

/// Runs the lines of a banner that a person would paste, in order, in one shell.
fn paste(banner: &str) {
    let binaries = Path::new(env!("CARGO_BIN_EXE_helenus")).parent().expect("a directory");
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    let lines: Vec<&str> = banner
        .lines()
        .map(str::trim)
        .filter(|line| {
            (line.starts_with("curl ") && has_curl)
                || line.starts_with("export ")
                || (line.starts_with("helenus ") && !line.contains("local down"))
        })
        .collect();
    assert!(lines.len() >= 2, "nothing to paste in:\n{banner}");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-e", "-c", &lines.join("\n").replace("curl ", "curl --fail --silent --show-error ")])
        .env("PATH", path)
        .output()
        .expect("a shell");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{lines:#?}\n{out}\n{err}");
}

/// Start of a range of loopback ports that nobody listens on: `local` wants them in a row.
fn free_ports() -> u16 {
    static CLUSTERS: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 1000).expect("below 1000") * 20;
    // Tests of this process that look at the same time look in different places.
    let start = process + CLUSTERS.fetch_add(1, Ordering::Relaxed) * 2000;
    (0..1000)
        .map(|attempt| 20_000 + (start + attempt * 20) % 20_000)
        .find(|base| (1..=3).all(|node| is_free(base + node) && is_free(base + 10 + node)))
        .expect("some ports are free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
