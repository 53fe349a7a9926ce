//! The nodes: real processes with their own data directories and loopback addresses.
//!
//! Linux answers on all of 127.0.0.0/8, so each run has a network of its own and ports are fixed: node i is 127.90.x.i,
//! with 7071 for clients and 7171 for peers; the proxy of the link from i to j listens on 127.90.x.(100 + i), port 7200 + j.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// As many as have addresses and a schedule that means something.
pub(super) const MOST_NODES: u32 = 99;

/// Addresses of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network(u8);

impl Network {
    /// A network that nobody listens on, searched from a place that depends on this process.
    pub(super) fn free() -> anyhow::Result<Self> {
        let start = u8::try_from(std::process::id() % 256)?;
        (0..=255)
            .map(|offset| Self(start.wrapping_add(offset)))
            .find(|network| TcpListener::bind(network.http(1)).is_ok())
            .context("no free loopback network below 127.90")
    }

    fn address(self, host: u32, port: u16) -> SocketAddr {
        let host = u8::try_from(host).expect("at most 99 nodes, and 100 more for their proxies");
        SocketAddr::from((Ipv4Addr::new(127, 90, self.0, host), port))
    }

    pub(super) fn http(self, node: u32) -> SocketAddr {
        self.address(node, 7071)
    }

    pub(super) fn peer(self, node: u32) -> SocketAddr {
        self.address(node, 7171)
    }

    /// Where `asker` finds `answerer` when it goes through the proxy.
    pub(super) fn proxy(self, asker: u32, answerer: u32) -> SocketAddr {
        let port = 7200 + u16::try_from(answerer).expect("at most 99 nodes");
        self.address(100 + asker, port)
    }
}

/// The processes of nodes 1..=count. Those that run when it is dropped are killed.
pub(super) struct Nodes {
    binary: PathBuf,
    directory: PathBuf,
    network: Network,
    factor: u32,
    /// Host ids, once they are known: from then on nodes reach each other through proxies.
    routes: Vec<String>,
    processes: Vec<Option<Child>>,
}

impl Nodes {
    /// No process runs yet. Data directories and logs go below `directory`.
    pub(super) fn new(
        binary: &Path,
        directory: &Path,
        network: Network,
        count: u32,
        factor: u32,
    ) -> anyhow::Result<Self> {
        ensure!((2..=MOST_NODES).contains(&count), "a cluster here has 2 to {MOST_NODES} nodes");
        let processes = (0..count).map(|_| None).collect();
        let (binary, directory) = (binary.to_owned(), directory.to_owned());
        Ok(Self { binary, directory, network, factor, routes: Vec::new(), processes })
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.processes.len()).expect("at most 99")
    }

    pub(super) fn all(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.count()
    }

    /// From the next start on, each node reaches node i, whose host id this is, through their proxy.
    pub(super) fn route(&mut self, host_ids: Vec<String>) {
        self.routes = host_ids;
    }

    /// Starts a node that does not run; it keeps its data from earlier starts.
    pub(super) fn start(&mut self, node: u32) -> anyhow::Result<()> {
        ensure!(self.process(node).is_none(), "n{node} runs already");
        let log = File::options().create(true).append(true).open(self.log_path(node))?;
        let mut command = Command::new(&self.binary);
        command.arg("serve");
        for setting in self.settings(node) {
            command.args(["--set", &setting]);
        }
        // A group of its own: an interrupt from the terminal is for us, and we end the nodes.
        let process = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        *self.process(node) = Some(process);
        Ok(())
    }

    fn settings(&self, node: u32) -> Vec<String> {
        let Network(third) = self.network;
        let seed = if node == 1 || self.routes.is_empty() {
            self.network.peer(1)
        } else {
            self.network.proxy(node, 1)
        };
        let mut settings = vec![
            format!("cluster.name=\"verify {third}\""),
            format!("cluster.seeds=[\"{seed}\"]"),
            format!("cluster.default_replication_factor={}", self.factor),
            format!("node.data_directory={:?}", data_directory(&self.directory, node).display().to_string()),
            format!("http.listen=\"{}\"", self.network.http(node)),
            format!("peer.listen=\"{}\"", self.network.peer(node)),
            // Small, so that flushes, merges and new segments happen while the cluster is disturbed.
            "http.max_value=64KiB".to_owned(),
            "storage.memtable_size=1MiB".to_owned(),
            "storage.segment_size=1MiB".to_owned(),
            "storage.commit_log_size=8MiB".to_owned(),
        ];
        for (other, host_id) in self.all().zip(&self.routes).filter(|(other, _)| *other != node) {
            settings.push(format!("peer.route.{host_id}=\"{}\"", self.network.proxy(node, other)));
        }
        settings
    }

    /// Whether it was started and has not been found ended.
    pub(super) fn runs(&mut self, node: u32) -> bool {
        self.process(node).is_some()
    }

    fn log_path(&self, node: u32) -> PathBuf {
        self.directory.join(format!("node{node}.log"))
    }

    fn process(&mut self, node: u32) -> &mut Option<Child> {
        &mut self.processes[node as usize - 1]
    }

    /// Sends a signal; nothing happens if the node does not run.
    pub(super) fn signal(&mut self, node: u32, signal: Signal) -> anyhow::Result<()> {
        let Some(process) = self.process(node) else { return Ok(()) };
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal n{node}"))
    }

    /// Kills nodes, the signals first and the waiting after, so that they die as good as at once.
    pub(super) fn kill(&mut self, nodes: impl Iterator<Item = u32> + Clone) -> anyhow::Result<()> {
        for node in nodes.clone() {
            self.signal(node, Signal::KILL)?;
        }
        for node in nodes {
            if let Some(mut process) = self.process(node).take() {
                process.wait()?;
            }
        }
        Ok(())
    }

    /// The status of a node that ran and has ended, told once.
    pub(super) fn ended(&mut self, node: u32) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = self.process(node) else { return Ok(None) };
        let status = process.try_wait()?;
        if status.is_some() {
            *self.process(node) = None;
        }
        Ok(status)
    }

    /// The end of a node's log.
    pub(super) fn log_tail(&self, node: u32) -> String {
        let log = fs::read(self.log_path(node)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let all = self.all();
        // Nobody is left to be told.
        let _ = self.kill(all);
    }
}

/// Deletes what nodes 1..=count have stored below a directory; logs stay.
pub(super) fn wipe(directory: &Path, count: u32) {
    for node in 1..=count {
        // What cannot be deleted is in nobody's way.
        let _ = fs::remove_dir_all(data_directory(directory, node));
    }
}

fn data_directory(directory: &Path, node: u32) -> PathBuf {
    directory.join(format!("node{node}"))
}

/// `helenus` as it was given, or beside this program, or on the path.
pub(super) fn find_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.is_file(), "{} is no file", given.display());
        // Made absolute: a bare name would be searched on the path.
        return Ok(fs::canonicalize(given)?);
    }
    let beside = std::env::current_exe()?.with_file_name("helenus");
    if beside.is_file() {
        return Ok(beside);
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|directory| directory.join("helenus")).find(|file| file.is_file())
    });
    match on_path {
        Some(file) => Ok(file),
        None => bail!("no `helenus` beside this program or on the path; name it with --binary"),
    }
}
