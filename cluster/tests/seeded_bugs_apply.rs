//! Bugs for the simulation to catch are kept as patches; a patch that no longer applies proves nothing.
//!
//! What tries them is `seeded_bugs/run.sh`, by hand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn every_seeded_bug_still_applies() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_repository = Command::new("git").arg("-C").arg(&tree).args(["rev-parse", "--git-dir"]).output();
    if !is_repository.is_ok_and(|answer| answer.status.success()) {
        eprintln!("skipped: without git and its repository nobody can apply a patch");
        return;
    }

    let patches = patches();
    let stale: Vec<String> = patches.iter().filter_map(|patch| refusal(&tree, patch)).collect();

    assert!(patches.len() >= 12, "only {} bugs are left", patches.len());
    assert!(stale.is_empty(), "mend these patches:\n{}", stale.concat());
}

fn patches() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeded_bugs");
    let files = fs::read_dir(directory).expect("it is part of the sources");
    let mut patches: Vec<PathBuf> = files.map(|file| file.expect("it is readable").path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    patches
}

/// Why a patch does not apply, if so.
fn refusal(tree: &Path, patch: &Path) -> Option<String> {
    let answer = Command::new("git").arg("-C").arg(tree).args(["apply", "--check"]).arg(patch).output();
    let answer = answer.expect("git ran a moment ago");
    (!answer.status.success()).then(|| String::from_utf8_lossy(&answer.stderr).into_owned())
}
