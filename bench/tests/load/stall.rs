//! A server that stalls is seen to stall: by latencies from when operations were due, not by those from sending.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use helenus_bench::measurement::{Latencies, RunResult};
use rustix::process::{Pid, Signal, kill_process};

use crate::stand_in::StandIn;

const ROLE: &str = "HELENUS_BENCH_TEST_IS_SERVER";

/// Not a test of its own: what the child process of the one below runs, until its standard input closes.
#[test]
fn serve_as_a_child() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let server = StandIn::start();
    println!("\nlistening on {}", server.url());
    let mut nothing = String::new();
    let _ = std::io::stdin().read_line(&mut nothing);
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "stall::serve_as_a_child", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
            .expect("an address");
        Self { child, url }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the child lives");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn above_a_quarter_second(latencies: &Latencies) -> f64 {
    let histogram = latencies.histogram();
    1.0 - histogram.count_between(0, 250_000) as f64 / histogram.len() as f64
}

#[test]
fn a_stall_shows_in_intended_latencies_and_not_in_plain_ones() {
    let server = Server::start();
    let bench = env!("CARGO_BIN_EXE_helenus-bench");
    let common = [
        "-p",
        "recordcount=100",
        "-p",
        "readproportion=1",
        "-p",
        "updateproportion=0",
        "--endpoints",
        &server.url,
    ];
    let loaded = Command::new(bench).arg("load").args(common).output().expect("a load");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let mut run = Command::new(bench)
        .arg("run")
        .args(common)
        .args(["--threads", "4", "--target", "400", "--duration", "5s", "--format", "json"])
        .args(["-s", "-p", "status.interval=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a run");
    // Held to the end: a program that cannot tell its status would fail.
    let mut statuses = BufReader::new(run.stderr.take().expect("piped")).lines().map_while(Result::ok);
    statuses.find(|line| line.contains(" operations; ")).expect("the run measures");
    server.signal(Signal::STOP);
    statuses.find(|line| line.contains("; 0.00 current ops/sec")).expect("a second without any answer");
    server.signal(Signal::CONT);
    let output = run.wait_with_output().expect("it ends");
    let run: RunResult = serde_json::from_slice(&output.stdout).expect("a result");
    let [read] = run.operations.as_slice() else { panic!("{:?}", run.operations) };
    let intended = read.intended.as_ref().expect("a run with a target");
    // Of five seconds' operations those due in the first three quarters of a stalled second wait over a quarter: 15 %.
    let (honest, plain) = (above_a_quarter_second(intended), above_a_quarter_second(&read.latency));
    assert!(honest > 0.1, "{honest} of the intended latencies show the stall");
    assert!(plain < 0.01, "{plain} of the plain latencies show it: one for each client");
    assert!(run.generator.held_up > 100, "{:?}", run.generator);
}
