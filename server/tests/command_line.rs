//! Promise: the exit status is 0 only on success, 2 when the program was used wrongly and 1 when something failed; the
//! client says exactly what it means and is safe for every byte.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Runs the program with arguments and standard input, without settings in its environment.
fn run<A: AsRef<OsStr>>(arguments: &[A], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read it has closed it.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("its output")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a stub was asked.
struct Asked {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// Answers one request with fixed bytes and says what it was.
fn stub(answer: &str) -> (String, JoinHandle<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = answer.to_owned();
    let asked = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request line");
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            if header.trim().is_empty() {
                break;
            }
            headers.push(header.trim().to_ascii_lowercase());
        }
        let length = headers.iter().find_map(|header| header.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        if headers.iter().any(|header| header == "expect: 100-continue") {
            reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("written");
        }
        reader.read_exact(&mut body).expect("a body");
        reader.get_mut().write_all(answer.as_bytes()).expect("written");
        Asked { line: line.trim().to_owned(), headers, body }
    });
    (endpoint, asked)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn wrong_usage_is_exit_status_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["sreve"],
        &["serve", "--set", "http.listen"],
        &["serve", "--set", "listen=1"],
        &["serve", "--set", "http.listn=127.0.0.1:1"],
        &["config"],
        &["get", "default"],
        &["get", "Default", "key"],
        &["get", "default", ""],
        &["admin", "endpoints", "default", ""],
        &["get", "default", "key", "--consistency", "most"],
        &["get", "default", "key", "--timeout", "31s"],
        &["get", "default", "key", "--endpoint", "ftp://x"],
        &["get", "default", "key", "--endpoint", "http://x/path"],
        &["get", "default", "key", "--endpoint", "http://127.0.0.1:99999"],
        &["get", "default", "key", "--endpoint", "http://127.0.0.1:abc"],
        &["get", "default", "key", "--endpoint", "http://127.0.0.1:"],
        &["put", "default", "key", "--value", "v", "--ttl", "1.5s"],
        &["get", "default", "key", "--consistency", "01"],
        &["put", "default", "key", "--value", "v", "--ttl", "30years"],
        &["put", "default", "key", "--value", "v", "--timestamp", "0"],
        &["put", "default", "key", "--value", "v", "-o", "xml"],
        &["table", "alter", "default"],
        &["local", "kill"],
        &["local", "kill", "x"],
        &["local", "kill", "1", "--signal", "TREM"],
        &["local", "up", "--nodes", "0", "--dir", "/nonexistent/helenus"],
        &["local", "up", "--nodes", "101", "--dir", "/nonexistent/helenus"],
        &["local", "up", "--datacenters", "2", "--http-base", "8000", "--dir", "/nonexistent/helenus"],
        &["local", "up", "--racks", "2", "--peer-base", "8000", "--dir", "/nonexistent/helenus"],
    ];
    for arguments in wrong {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_file_of_settings_is_a_failure_and_a_right_one_is_not() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("node.toml");
    let path = path.to_str().expect("UTF-8");
    std::fs::write(path, "[http]\nlisten = 5\n").expect("a file");
    for command in [["config", "check"].as_slice(), &["config", "show"], &["serve"]] {
        let output = run(&[command, &["--config", path]].concat(), b"");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(errors(&output).contains("node.toml:2:10"), "{}", errors(&output));
        assert!(!errors(&output).contains('\u{1b}'), "colours are for terminals");
    }
    std::fs::write(path, "[http]\nlisten = \"127.0.0.1:8080\"\n").expect("a file");
    let output = run(&["config", "check", "--config", path], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"ok: 1 of "));

    let output = run(&["config", "show", "--config", path, "--set", "log.format=json", "-o", "json"], b"");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["http.listen"]["value"], "127.0.0.1:8080");
    assert_eq!(shown["http.listen"]["origin"], format!("{path}:2"));
    assert_eq!(shown["log.format"]["origin"], "--set");
    assert_eq!(shown["http.max_value"], serde_json::json!({"value": "1MiB", "origin": "default"}));

    let output = run(&["config", "show", "--config", "/nonexistent.toml"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot read /nonexistent.toml"), "{}", errors(&output));
}

#[test]
fn a_put_sends_key_and_value_byte_for_byte() {
    let json = r#"{"timestamp":17,"required":2,"acknowledged":3}"#;
    let (endpoint, asked) = stub(&reply("200 OK", "content-type: application/json\r\n", json));
    let value: Vec<u8> = (0..=255).collect();
    let key = OsStr::from_bytes(b"../\xff /%zz");
    let arguments = [
        OsStr::new("put"),
        OsStr::new("default"),
        key,
        OsStr::new("--endpoint"),
        OsStr::new(&endpoint),
        OsStr::new("--consistency"),
        OsStr::new("QUORUM"),
        OsStr::new("--timeout"),
        OsStr::new("1500ms"),
        OsStr::new("--ttl"),
        OsStr::new("2h"),
        OsStr::new("--timestamp"),
        OsStr::new("17"),
    ];
    let output = run(&arguments, &value);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "TIMESTAMP  REQUIRED  ACKNOWLEDGED\n17         2         3\n"
    );
    let asked = asked.join().expect("asked");
    assert_eq!(
        asked.line,
        "PUT /v1/kv/default/Li4v_yAvJXp6?key_encoding=base64url&consistency=quorum&timeout_ms=1500&timestamp=17\
         &ttl=7200 HTTP/1.1"
    );
    assert_eq!(asked.body, value);
}

#[test]
fn a_long_value_asks_before_it_is_sent_and_arrives_whole() {
    let json = r#"{"timestamp":1,"required":1,"acknowledged":1}"#;
    let (endpoint, asked) = stub(&reply("200 OK", "", json));
    let value: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let output = run(&["put", "default", "k", "--endpoint", &endpoint, "-o", "json"], &value);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let shown = String::from_utf8_lossy(&output.stdout).replace([' ', '\n'], "");
    assert_eq!(shown, json, "with its members in the order of the node");
    let asked = asked.join().expect("asked");
    assert!(asked.headers.contains(&"expect: 100-continue".to_owned()));
    assert!(asked.body == value);
}

#[test]
fn a_value_may_be_an_argument_and_may_be_empty() {
    for value in ["", "-n", "two words"] {
        let (endpoint, asked) =
            stub(&reply("200 OK", "", r#"{"timestamp":1,"required":1,"acknowledged":1}"#));
        let output = run(&["put", "default", "k", "--value", value, "--endpoint", &endpoint], b"ignored");
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let asked = asked.join().expect("asked");
        assert_eq!(asked.body, value.as_bytes());
        assert!(asked.headers.contains(&format!("content-length: {}", value.len())), "{:?}", asked.headers);
    }
}

#[test]
fn a_get_writes_the_value_and_nothing_else() {
    let (endpoint, asked) = stub(&reply("200 OK", "", "no newline\u{0}"));
    let output = run(&["get", "default", "k", "--endpoint", &format!("{endpoint}/")], b"");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(output.stdout, b"no newline\0");
    assert_eq!(asked.join().expect("asked").line, "GET /v1/kv/default/aw?key_encoding=base64url HTTP/1.1");
}

#[test]
fn a_value_that_breaks_off_is_a_failure() {
    let (endpoint, asked) = stub("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let output = run(&["get", "default", "k", "--endpoint", &endpoint], b"");
    asked.join().expect("asked");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("broke off"), "{}", errors(&output));
}

#[test]
fn a_problem_is_one_clear_line() {
    let problem = |kind: &str, rest: &str| {
        format!(r#"{{"type":"/problems/{kind}","title":"Title","status":0,"detail":"what happened"{rest}}}"#)
    };
    let cases = [
        ("get", reply("404 Not Found", "", &problem("not-found", "")), "error: not found\n"),
        (
            "get",
            reply("404 Not Found", "helenus-deleted: ?1\r\n", &problem("not-found", "")),
            "error: not found: the key was deleted\n",
        ),
        (
            "get",
            reply("404 Not Found", "", &problem("no-such-table", "")),
            "error: no-such-table (404): what happened\n",
        ),
        (
            "delete",
            reply(
                "503 Service Unavailable",
                "",
                &problem("unavailable", r#","required":2,"alive":1,"outcome":"not-applied""#),
            ),
            "error: unavailable (503): what happened [required 2, alive 1, outcome not-applied]\n",
        ),
        (
            "delete",
            reply(
                "504 Gateway Timeout",
                "",
                &problem(
                    "write-timeout",
                    r#","required":2,"received":1,"outcome":"unknown","request_id":"7f""#,
                ),
            ),
            "error: write-timeout (504): what happened [required 2, received 1, outcome unknown, request 7f]\n",
        ),
        (
            "get",
            reply("502 Bad Gateway", "", "<html>"),
            "error: 502 Bad Gateway, which is no answer of a Helenus node (--endpoint or HELENUS_ENDPOINT names another \
             node)\n",
        ),
        (
            "get",
            reply("404 Not Found", "", "<html>"),
            "error: 404 Not Found, which is no answer of a Helenus node (--endpoint or HELENUS_ENDPOINT names another \
             node)\n",
        ),
    ];
    for (command, answer, expected) in cases {
        let (endpoint, asked) = stub(&answer);
        let output = run(&[command, "default", "k", "--endpoint", &endpoint], b"");
        asked.join().expect("asked");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(errors(&output), expected);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn nobody_at_the_endpoint_is_a_failure_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    for command in [["get", "default", "k"].as_slice(), &["admin", "status"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_helenus"))
            .args(command)
            .env("HELENUS_ENDPOINT", &endpoint)
            .output()
            .expect("its output");
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(&endpoint), "{}", errors(&output));
    }
}

#[test]
fn a_node_that_is_silent_is_given_up_soon_after_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let start = Instant::now();
    let commands: [&[&str]; 3] = [&["get"], &["put", "--value", "v"], &["delete"]];
    thread::scope(|scope| {
        for command in commands {
            let endpoint = endpoint.as_str();
            scope.spawn(move || {
                let rest = ["default", "k", "--timeout", "200ms", "--endpoint", endpoint];
                let output = run(&[command, &rest].concat(), b"");
                assert_eq!(output.status.code(), Some(1));
                let outcome = if command[0] == "get" { "" } else { "; the outcome is unknown" };
                assert_eq!(errors(&output), format!("error: no answer from {endpoint} in 1.2 s{outcome}\n"));
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn an_empty_variable_chooses_no_endpoint() {
    let output = Command::new(env!("CARGO_BIN_EXE_helenus"))
        .args(["get", "default", ""])
        .env("HELENUS_ENDPOINT", "")
        .output()
        .expect("its output");
    assert!(errors(&output).contains("a key has"), "{}", errors(&output));
}

#[test]
fn a_local_cluster_that_is_not_there_is_a_failure() {
    let directory = TempDir::new().expect("a directory");
    let dir = directory.path().join("none");
    let dir = dir.to_str().expect("UTF-8");
    for command in [["status"].as_slice(), &["down", "--wipe"], &["kill", "1"], &["logs", "1"], &["add"]] {
        let output = run(&[&["local", "--dir", dir], command].concat(), b"");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(errors(&output).contains("there is no cluster in "), "{}", errors(&output));
        assert!(!directory.path().join("none").exists(), "nothing is made");
    }
}
