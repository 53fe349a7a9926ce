//! What fuzzing found interesting once stays harmless: each file of `fuzz/seeds` goes through its target, on any
//! toolchain.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[expect(unreachable_pub, reason = "the fuzz targets see it from another crate")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn replay(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Shown if it panics.
        println!("{}", path.display());
        target(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds for {name}");
}

#[test]
fn no_seed_breaks_a_table() {
    replay("table", targets::table);
}

#[test]
fn no_seed_breaks_a_commit_log() {
    replay("commit_log", targets::commit_log);
}

#[test]
fn no_seed_breaks_a_manifest() {
    replay("manifest", targets::manifest);
}

#[test]
fn no_seed_breaks_a_record() {
    replay("record", targets::record);
}
