//! Real nodes as real processes, for tests that speak the domain: `cluster.kill(3)`, `cluster.pause(2)`.
//!
//! Each cluster lives in its own temporary directory and on its own loopback addresses (Linux answers on all of
//! 127.0.0.0/8), drawn from the process id and a counter: fixed ports of two clusters never meet.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the vocabulary")]

pub mod load;
pub mod namespaces;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use namespaces::Namespaces;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes 1..=n of one cluster.
pub struct TestCluster {
    directory: TempDir,
    network: String,
    nodes: Vec<TestNode>,
    http: ureq::Agent,
    /// Where the nodes live, if not all on the loopback device.
    namespaces: Option<Namespaces>,
}

struct TestNode {
    number: usize,
    ip: String,
    process: Mutex<Option<Child>>,
}

/// What a node answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl TestCluster {
    /// Starts `count` nodes and waits until each is ready and sees all others up.
    pub fn start(count: usize) -> Self {
        let cluster = Self::stopped(count);
        for number in 1..=count {
            cluster.spawn(number);
        }
        for number in 1..=count {
            cluster.wait_until_ready(number);
            cluster.wait_until_seen_up(number, count);
        }
        cluster
    }

    /// A cluster whose nodes were not started yet.
    pub fn stopped(count: usize) -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // 127.(64..128).x.y: away from 127.0 and from the addresses of `helenus local`.
        let network = format!("127.{}.{}", 64 + (process >> 8) % 64, (process + cluster * 17) % 256);
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(35)))
            .build()
            .into();
        let nodes = (1..=count)
            .map(|number| TestNode { number, ip: format!("{network}.{number}"), process: Mutex::default() })
            .collect();
        let directory = TempDir::new().expect("a temporary directory");
        Self { directory, network, nodes, http, namespaces: None }
    }

    /// A cluster in two datacenters with three racks each, whose nodes were not started yet: node i has the address
    /// 127.dc.rack.i, as `helenus local` has them. Returns the names of the datacenters too.
    pub fn in_two_datacenters(count: usize) -> (Self, [String; 2]) {
        let process = std::process::id() as usize;
        let (datacenter, rack) = (130 + 2 * (process % 60), 3 * (process / 60 % 80));
        let mut cluster = Self::stopped(count);
        for (index, node) in cluster.nodes.iter_mut().enumerate() {
            let (datacenter, rack) = (datacenter + index % 2, rack + index / 2 % 3 + 1);
            node.ip = format!("127.{datacenter}.{rack}.{}", node.number);
        }
        (cluster, [datacenter.to_string(), (datacenter + 1).to_string()])
    }

    /// A cluster in two datacenters, each in a network namespace of its own, whose nodes were not started yet: node i has
    /// the address 10.dc.rack.i.
    pub fn in_two_namespaces(count: usize, namespaces: Namespaces) -> Self {
        let mut cluster = Self::stopped(count);
        for node in &mut cluster.nodes {
            node.ip = namespaces.add_host(node.number);
        }
        cluster.namespaces = Some(namespaces);
        cluster
    }

    /// Where a node has its operators that serves clients of other machines too.
    pub fn admin_url(&self, number: usize) -> String {
        format!("http://127.0.0.{number}:7070")
    }

    /// The namespaces that its nodes live in.
    pub fn namespaces(&self) -> &Namespaces {
        self.namespaces.as_ref().expect("a cluster in two namespaces")
    }

    /// `helenus admin` asks a node.
    pub fn admin(&self, number: usize, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helenus"))
            .arg("admin")
            .args(arguments)
            .env("HELENUS_ENDPOINT", self.url(number))
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    /// `http://…` of a node.
    pub fn url(&self, number: usize) -> String {
        format!("http://{}", self.http_address(number))
    }

    /// Address of a node's client listener.
    pub fn http_address(&self, number: usize) -> String {
        format!("{}:7071", self.nodes[number - 1].ip)
    }

    /// Address of a node's listener for other nodes.
    pub fn peer_address(&self, number: usize) -> String {
        format!("{}:7171", self.nodes[number - 1].ip)
    }

    fn process(&self, number: usize) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.nodes[number - 1].process.lock().expect("no panic while it was held")
    }

    fn log_path(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node{number}.log"))
    }

    /// All that a node has logged, by all its processes.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.log_path(number)).expect("a log")
    }

    /// Where a node keeps its data.
    pub fn data_directory(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node{number}"))
    }

    /// Starts the process of a node; it keeps its data from earlier starts.
    pub fn spawn(&self, number: usize) {
        self.spawn_with(number, &[]);
    }

    /// Starts the process of a node with further settings (`section.key=value`).
    pub fn spawn_with(&self, number: usize, settings: &[&str]) {
        let binary = env!("CARGO_BIN_EXE_helenus");
        let command = match &self.namespaces {
            Some(namespaces) => namespaces.command(number, binary),
            None => Command::new(binary),
        };
        self.spawn_command(command, number, settings);
    }

    /// Starts the process of a node that may have so many files open.
    pub fn spawn_with_open_files(&self, number: usize, limit: u32, settings: &[&str]) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_helenus")]);
        self.spawn_command(command, number, settings);
    }

    /// Starts the process of a node whose wall clock is off by `offset` (`+1h`), in the words of libfaketime.
    pub fn spawn_with_clock(&self, number: usize, library: &Path, offset: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
        command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.spawn_command(command, number, &[]);
    }

    /// Gives a node that does not run another address.
    pub fn move_to_another_address(&mut self, number: usize) {
        assert!(self.process(number).is_none(), "node {number} runs");
        self.nodes[number - 1].ip = format!("{}.{}", self.network, number + 100);
    }

    fn spawn_command(&self, mut command: Command, number: usize, settings: &[&str]) {
        let log = File::options().create(true).append(true).open(self.log_path(number)).expect("a log file");
        let data = self.data_directory(number);
        let count = self.nodes.len().min(3);
        command.arg("serve");
        for setting in [
            format!("cluster.name=\"{}\"", self.network),
            format!("cluster.seeds=[\"{}\"]", self.peer_address(1)),
            format!("cluster.default_replication_factor={count}"),
            format!("node.data_directory={:?}", data.display().to_string()),
            format!("http.listen=\"{}\"", self.http_address(number)),
            format!("peer.listen=\"{}\"", self.peer_address(number)),
        ]
        .into_iter()
        .chain(settings.iter().map(|&setting| setting.to_owned()))
        {
            command.args(["--set", &setting]);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let earlier = self.process(number).replace(process);
        assert!(earlier.is_none(), "node {number} runs already");
    }

    /// SIGKILL, and wait until the process is gone.
    pub fn kill(&self, number: usize) {
        let mut process = self.process(number).take().expect("a running node");
        process.kill().expect("a signal");
        process.wait().expect("an exit status");
    }

    /// SIGTERM, and its exit code.
    pub fn terminate(&self, number: usize) -> Option<i32> {
        self.tell_to_stop(number);
        self.wait_for_end(number)
    }

    /// SIGTERM, without a wait.
    pub fn tell_to_stop(&self, number: usize) {
        self.signal(number, Signal::TERM);
    }

    /// Waits until a node that was told to stop has ended; its exit status.
    pub fn wait_for_end(&self, number: usize) -> Option<i32> {
        let mut process = self.process(number).take().expect("a running node");
        let mut status = None;
        wait_until(&format!("node {number} has stopped"), || {
            status = process.try_wait().expect("a status");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Waits until a node has ended by itself with a failure; its log.
    pub fn wait_for_failure(&self, number: usize) -> String {
        let mut process = self.process(number).take().expect("a running node");
        let mut status = None;
        wait_until(&format!("node {number} has failed"), || {
            status = process.try_wait().expect("a status");
            status.is_some()
        });
        assert_ne!(status.and_then(|status| status.code()), Some(0), "node {number} failed");
        self.log(number)
    }

    /// SIGSTOP.
    pub fn pause(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let guard = self.process(number);
        let process = guard.as_ref().expect("a running node");
        let pid = Pid::from_raw(i32::try_from(process.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits for 200 from `/readyz`.
    pub fn wait_until_ready(&self, number: usize) {
        self.wait_for_node(number, "ready", || {
            self.try_request("GET", number, "/readyz", &[], None).is_ok_and(|reply| reply.status == 200)
        });
    }

    /// Waits until a node sees `count` members up, itself included.
    pub fn wait_until_seen_up(&self, number: usize, count: usize) {
        self.wait_for_node(number, &format!("seeing {count} members up"), || {
            self.members(number).is_some_and(|members| {
                members.iter().filter(|member| member["up"] == true && member["state"] == "normal").count()
                    == count
            })
        });
    }

    /// The members as a node sees them.
    pub fn members(&self, number: usize) -> Option<Vec<Value>> {
        let reply = self.try_request("GET", number, "/admin/v1/status", &[], None).ok()?;
        reply.json()["members"].as_array().cloned()
    }

    fn wait_for_node(&self, number: usize, state: &str, condition: impl FnMut() -> bool) {
        if !wait(condition) {
            let log = std::fs::read_to_string(self.log_path(number)).unwrap_or_default();
            panic!("node {number} is not {state} after {PATIENCE:?}; its log:\n{log}");
        }
    }

    /// Sends a request to a node; panics when there is no answer.
    pub fn request(&self, method: &str, number: usize, path: &str, body: Option<&[u8]>) -> Reply {
        self.try_request(method, number, path, &[], body)
            .unwrap_or_else(|error| panic!("{method} {path} at node {number}: {error}"))
    }

    /// Sends a request with headers to a node.
    pub fn try_request(
        &self,
        method: &str,
        number: usize,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply, ureq::Error> {
        let url = match self.namespaces {
            Some(_) if path.starts_with("/admin") || path == "/metrics" => self.admin_url(number),
            _ => self.url(number),
        };
        let mut request = ureq::http::Request::builder().method(method).uri(url + path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Without a body the library would send the empty chunk of one, in a write of its own: a node that has answered
        // before it comes closes the connection, and the next request on it fails.
        let body = body.or_else(|| matches!(method, "PUT" | "POST").then_some(&[]));
        let run = || match body {
            Some(body) => self.http.run(request.body(body)?),
            None => self.http.run(request.body(())?),
        };
        let mut response = match &self.namespaces {
            Some(namespaces) => namespaces.inside(number, run),
            None => run(),
        }?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.body_mut().with_config().limit(16 << 20).read_to_vec()?;
        Ok(Reply { status, headers, body })
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Ok(Some(process)) = node.process.get_mut().map(Option::as_mut) {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                let log =
                    std::fs::read_to_string(self.directory.path().join(format!("node{}.log", node.number)));
                let log = log.unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!("--- end of the log of node {}", node.number);
                tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// The library that gives a process another time (Debian's package faketime), for programs with threads.
pub fn faketime_library() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let mut libraries = directories.map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists())
}

/// Waits for a condition; panics with its name when it does not come.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait(condition), "waited {PATIENCE:?} in vain until {what}");
}

pub fn wait(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if condition() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    false
}

/// The path of a key of table `default`: everything but unreserved characters and `/` percent-encoded.
pub fn key_path(key: &[u8]) -> String {
    use std::fmt::Write;
    let mut path = "/v1/kv/default/".to_owned();
    for &byte in key {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                path.push(byte.into());
            }
            _ => write!(path, "%{byte:02X}").expect("writing to a string"),
        }
    }
    path
}
