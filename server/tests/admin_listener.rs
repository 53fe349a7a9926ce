//! Promise: a node that clients of other machines may reach keeps its operators apart, and says that it has no
//! authentication.

mod processes;

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use processes::wait_until;
use serde_json::Value;
use tempfile::TempDir;

/// A node on its own whose log is kept; it dies with the test.
struct Node {
    directory: TempDir,
    process: Child,
    /// What it wrote to its ready file.
    ready: Value,
}

impl Node {
    fn start(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ready_file = directory.path().join("ready.json");
        let log = File::create(directory.path().join("log")).expect("a file");
        let data = format!("node.data_directory={:?}", directory.path().join("data").display().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
        command.arg("serve").arg("--ready-file").arg(&ready_file);
        for setting in [data.as_str(), "peer.listen=127.0.0.1:0"].iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let process = command.stdin(Stdio::null()).stderr(log).spawn().expect("the binary starts");
        let mut node = Self { directory, process, ready: Value::Null };
        wait_until("the node has written its ready file", || {
            node.ready = read_json(&ready_file);
            !node.ready.is_null()
        });
        wait_until("the node is ready", || node.get("http", "/readyz").0 == 200);
        node
    }

    /// Status and body of what an address of the ready file answers.
    fn get(&self, whose: &str, path: &str) -> (u16, String) {
        let address: SocketAddr = self.ready[whose].as_str().expect("a text").parse().expect("an address");
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://127.0.0.1:{}{path}", address.port());
        let mut response = agent.get(url).call().expect("an answer");
        let body = response.body_mut().read_to_string().expect("text");
        (response.status().as_u16(), body)
    }

    /// Whether the OpenAPI document of a listener has the routes of clients, and those of operators.
    fn documented(&self, whose: &str) -> [bool; 2] {
        let (status, body) = self.get(whose, "/openapi.json");
        assert_eq!(status, 200, "{body}");
        let document: Value = serde_json::from_str(&body).expect("JSON");
        ["/v1/batch", "/admin/v1/status"].map(|path| document["paths"].get(path).is_some())
    }

    fn warnings(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("log")).expect("a log");
        log.lines().filter(|line| line.contains("no authentication")).map(ToOwned::to_owned).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_json(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[test]
fn operators_have_a_listener_of_their_own_where_the_settings_say_so() {
    let node = Node::start(&["http.listen=0.0.0.0:0", "admin.listen=127.0.0.1:0"]);

    let (status, body) = node.get("admin", "/admin/v1/status");
    assert!(status == 200 && body.contains("\"members\""), "{status} {body}");
    let (status, body) = node.get("http", "/admin/v1/status");
    assert!(status == 404 && body.contains("admin.listen"), "{status} {body}");
    assert_eq!(node.get("http", "/v1/kv/default/key").0, 404);
    let (status, body) = node.get("admin", "/v1/kv/default/key");
    assert!(status == 404 && body.contains("/problems/no-such-route"), "{status} {body}");
    assert!(body.contains("http.listen"), "{body}");
    for listener in ["http", "admin"] {
        let (status, body) = node.get(listener, "/metrics");
        assert!(status == 200 && body.contains("helenus_"), "{listener}: {status} {body}");
    }
    assert_eq!(node.documented("http"), [true, false]);
    assert_eq!(node.documented("admin"), [false, true]);
    let warnings = node.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN"), "{warnings:?}");
}

#[test]
fn operators_come_in_with_the_clients_of_their_machine_otherwise() {
    let node = Node::start(&["http.listen=127.0.0.1:0"]);

    assert_eq!(node.ready["admin"], node.ready["http"]);
    assert_eq!(node.get("http", "/admin/v1/status").0, 200);
    assert_eq!(node.documented("http"), [true, true]);
    assert_eq!(node.warnings(), [""; 0]);
}
