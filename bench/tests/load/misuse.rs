//! What cannot be asked for ends with status 2, nothing on standard output, and says what is wrong.

use std::process::Command;

#[test]
fn what_cannot_be_asked_for_ends_with_two_and_is_named() {
    let table: [(&[&str], &str); 7] = [
        (&["run", "-p", "recordcount=abc"], "recordcount=abc"),
        (&["run", "-p", "foo"], "foo"),
        (&["run", "--consistency", "most"], "consistency: `most`"),
        (&["run", "--endpoints", "nowhere"], "nowhere"),
        (&["run", "--routing", "random"], "--routing"),
        (&["run", "--format", "ycsb", "--baseline", "earlier.json"], "--baseline"),
        (&["compare", concat!(env!("CARGO_MANIFEST_DIR"), "/../config/compare.toml")], "--duration"),
    ];
    for (arguments, named) in table {
        let output =
            Command::new(env!("CARGO_BIN_EXE_helenus-bench")).args(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
}
