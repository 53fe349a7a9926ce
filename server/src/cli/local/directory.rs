//! The directory of a cluster and the files in it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{process::Recorded, shell, topology::Topology};
use crate::cli::Usage;

const MADE_BY: &str = "helenus local";

/// What `up` was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterFile {
    made_by: String,
    pub(super) topology: Topology,
    /// Factor of the table `default`: min(3, nodes) when the cluster was made.
    pub(super) default_replication_factor: u32,
    /// The same by datacenter, as it was when the cluster was made; counts with several datacenters or racks.
    #[serde(default)]
    pub(super) default_replication: BTreeMap<String, u32>,
    /// Settings of all nodes.
    pub(super) set: Vec<String>,
}

/// A directory that holds a cluster.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    pub(super) cluster: ClusterFile,
}

impl Directory {
    /// Opens the cluster of a directory; `None` when the directory is missing or empty.
    pub(super) fn open_if_made(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path.join("cluster.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if holds_other_files(path) {
                    anyhow::bail!(
                        "{} holds files, but no cluster of `helenus local`; choose another --dir",
                        path.display()
                    );
                }
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let cluster: ClusterFile = serde_json::from_str(&text).with_context(|| {
            format!("{} is not what `helenus local` wrote", path.join("cluster.json").display())
        })?;
        if cluster.made_by != MADE_BY {
            anyhow::bail!("{} was not made by `helenus local`", path.display());
        }
        cluster.topology.check().map_err(anyhow::Error::msg)?;
        Ok(Some(Self { path: path.to_owned(), cluster }))
    }

    /// Opens the cluster of a directory.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_if_made(path)?.with_context(|| {
            format!("there is no cluster in {}; `{} up` makes one", path.display(), shell::local(path))
        })
    }

    /// A cluster that is yet to be made, by [`Directory::save`].
    pub(super) fn planned(path: &Path, topology: Topology, set: Vec<String>) -> Self {
        let default_replication_factor = topology.nodes.min(3);
        let default_replication = topology.replication();
        let cluster = ClusterFile {
            made_by: MADE_BY.to_owned(),
            topology,
            default_replication_factor,
            default_replication,
            set,
        };
        Self { path: path.to_owned(), cluster }
    }

    /// Writes down what the cluster is.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("cannot make {}", self.path.display()))?;
        let text = serde_json::to_string_pretty(&self.cluster)?;
        write_whole(&self.path.join("cluster.json"), &(text + "\n"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other command starts or stops processes of a directory, and keeps them from it.
    pub(super) fn lock(path: &Path) -> anyhow::Result<File> {
        let open = || -> io::Result<File> {
            fs::create_dir_all(path)?;
            let file = File::options().create(true).truncate(false).write(true).open(path.join("lock"))?;
            file.lock()?;
            Ok(file)
        };
        open().with_context(|| format!("cannot lock {}", path.display()))
    }

    /// The numbers of the nodes.
    pub(super) fn nodes(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.cluster.topology.nodes
    }

    /// Checks that there is a node of that number.
    pub(super) fn check_node(&self, node: u32) -> anyhow::Result<()> {
        if self.nodes().contains(&node) {
            return Ok(());
        }
        let nodes = self.cluster.topology.nodes;
        Err(Usage(format!("there is no node {node}: this cluster has nodes 1 to {nodes}")).into())
    }

    fn of_node(&self, node: u32) -> PathBuf {
        self.path.join(format!("node{node}"))
    }

    /// Makes the directory of a node.
    pub(super) fn make_node(&self, node: u32) -> anyhow::Result<PathBuf> {
        let path = self.of_node(node);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    pub(super) fn data(&self, node: u32) -> PathBuf {
        self.of_node(node).join("data")
    }

    pub(super) fn log(&self, node: u32) -> PathBuf {
        self.of_node(node).join("log")
    }

    fn pid_file(&self, node: u32) -> PathBuf {
        self.of_node(node).join("pid")
    }

    /// The process that was last started for a node, which may be long gone.
    pub(super) fn recorded(&self, node: u32) -> Option<Recorded> {
        let text = fs::read_to_string(self.pid_file(node)).ok()?;
        let mut lines = text.lines();
        Some(Recorded { pid: lines.next()?.parse().ok()?, started: lines.next()?.parse().ok()? })
    }

    pub(super) fn record(&self, node: u32, process: Recorded) -> anyhow::Result<()> {
        write_whole(&self.pid_file(node), &format!("{}\n{}\n", process.pid, process.started))
    }

    pub(super) fn forget(&self, node: u32) -> anyhow::Result<()> {
        let path = self.pid_file(node);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes what `helenus local` has made, and the directory itself if nothing else is in it. Says whether it is
    /// gone.
    pub(super) fn wipe(&self) -> anyhow::Result<bool> {
        for node in self.nodes() {
            let path = self.of_node(node);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        // The marker goes after the data, so that a wipe that broke off can be repeated.
        for name in ["cluster.json", "lock"] {
            fs::remove_file(self.path.join(name))
                .with_context(|| format!("cannot remove {name} in {}", self.path.display()))?;
        }
        Ok(fs::remove_dir(&self.path).is_ok())
    }
}

/// Whether a directory exists and holds anything but what an `up` that broke off left.
fn holds_other_files(path: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(path) else { return false };
    entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != "lock"))
}

/// Replaces a file as a whole.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a log from an offset on.
pub(super) fn log_tail(path: &Path, offset: u64, lines: usize) -> String {
    const MAX_BYTES: u64 = 64 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset.max(length.saturating_sub(MAX_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &Path) -> Directory {
        let topology = Topology { nodes: 2, datacenters: 1, racks: 1, http_base: 1, peer_base: 100 };
        let directory = Directory::planned(path, topology, vec!["log.filter=debug".to_owned()]);
        directory.save().expect("a directory");
        directory
    }

    #[test]
    fn a_cluster_is_what_was_written_down() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b");
        assert!(Directory::open_if_made(&path).expect("nothing wrong").is_none());
        let cluster = made(&path);
        assert_eq!(cluster.cluster.default_replication_factor, 2);
        assert_eq!(Directory::open(&path).expect("a cluster").cluster, cluster.cluster);
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("thesis.tex"), "").expect("a file");
        let error = Directory::open_if_made(directory.path()).expect_err("not ours");
        assert!(error.to_string().contains("holds files"), "{error}");
        fs::write(directory.path().join("cluster.json"), "{}").expect("a file");
        assert!(Directory::open_if_made(directory.path()).is_err());
    }

    #[test]
    fn a_wipe_takes_only_what_is_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = made(directory.path());
        drop(Directory::lock(directory.path()).expect("a lock"));
        fs::create_dir_all(cluster.data(1)).expect("a directory");
        fs::write(directory.path().join("thesis.tex"), "").expect("a file");
        assert!(!cluster.wipe().expect("wiped"), "the directory stays");
        let left: Vec<_> = fs::read_dir(directory.path()).expect("a directory").collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_pid_file_that_broke_off_is_no_process() {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = made(directory.path());
        cluster.make_node(1).expect("a directory");
        assert_eq!(cluster.recorded(1), None);
        cluster.record(1, Recorded { pid: 12, started: 345 }).expect("recorded");
        assert_eq!(cluster.recorded(1), Some(Recorded { pid: 12, started: 345 }));
        for torn in ["", "12", "12\n", "x\n1\n"] {
            fs::write(cluster.pid_file(1), torn).expect("a file");
            assert_eq!(cluster.recorded(1), None, "{torn:?}");
        }
        cluster.forget(1).expect("forgotten");
        cluster.forget(1).expect("twice is fine");
    }

    #[test]
    fn the_tail_of_a_log_begins_at_this_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, "old\none\ntwo\nthree\n").expect("a file");
        assert_eq!(log_tail(&path, 4, 2), "two\nthree");
        assert_eq!(log_tail(&path, 4, 9), "one\ntwo\nthree");
        assert_eq!(log_tail(&path, 400, 9), "");
        assert_eq!(log_tail(&directory.path().join("none"), 0, 9), "");
    }
}
