//! Which rare paths a campaign has reached, of those that the sources mark.

use std::{collections::BTreeSet, fs, path::Path};

/// The marks that were reached in this process.
pub fn reached() -> BTreeSet<String> {
    helenus_storage::marks::reached().into_iter().map(str::to_owned).collect()
}

/// The marks in the sources of storage and cluster.
pub fn all() -> BTreeSet<String> {
    let cluster = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut marks = BTreeSet::new();
    for sources in [cluster.join("src"), cluster.join("../storage/src")] {
        collect(&sources, &mut marks);
    }
    marks
}

fn collect(directory: &Path, marks: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, marks);
        } else if let Ok(source) = fs::read_to_string(&path) {
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            for mark in code.filter_map(|line| line.split_once("sometimes!(\"")) {
                marks.extend(mark.1.split_once('"').map(|(name, _)| name.to_owned()));
            }
        }
    }
}
