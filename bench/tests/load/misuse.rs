//! What cannot be asked for ends with status 2, nothing on standard output, and says what is wrong.

use std::process::Command;

const LINEUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/compare.toml");
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn what_cannot_be_asked_for_ends_with_two_and_is_named() {
    let table: [(&[&str], &str); 20] = [
        (&["run", "-p", "recordcount=abc"], "recordcount=abc"),
        (&["run", "-p", "foo"], "foo"),
        (&["run", "--consistency", "most"], "consistency: `most`"),
        (&["run", "--endpoints", "nowhere"], "nowhere"),
        (&["run", "--routing", "random"], "--routing"),
        (&["run", "--format", "ycsb", "--baseline", "earlier.json"], "--baseline"),
        (&["compare", LINEUP], "--duration"),
        (&["compare", LINEUP, "--duration", "1s", "--threads", "0"], "0 clients"),
        (&["compare", "/nowhere/lineup.toml", "--duration", "1s"], "cannot read /nowhere/lineup.toml"),
        // Nobody listens there, and nobody is asked.
        (&["run", "--endpoints", NOBODY, "--duration", "1s", "--threads", "0"], "0 clients"),
        (&["run", "--endpoints", NOBODY, "--duration", "1s", "--target=-1"], "target -1"),
        (&["run", "--endpoints", NOBODY, "--duration", "1s", "--workers", "0"], "0 workers"),
        (&["run", "--endpoints", NOBODY, "--duration", "1s", "--timeout", "0s"], "--timeout"),
        (&["run", "--endpoints", NOBODY, "-p", "recordcount=1"], "operationcount"),
        (&["run", "--endpoints", NOBODY, "--duration", "0s"], "--duration"),
        (
            &["run", "--endpoints", NOBODY, "--duration", "1s", "-p", "helenus.routing=random"],
            "helenus.routing",
        ),
        (&["load", "--endpoints", NOBODY, "--warmup", "1s"], "--warmup"),
        (&["report", "/nowhere/run.json"], "cannot read /nowhere/run.json"),
        (&["verify", "--check", "/nowhere/history.jsonl"], "cannot open /nowhere/history.jsonl"),
        (&["verify", "--dir", "/nowhere", "--binary", "/nowhere/helenus"], "/nowhere/helenus is no file"),
    ];
    for (arguments, named) in table {
        let output =
            Command::new(env!("CARGO_BIN_EXE_helenus-bench")).args(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
}
