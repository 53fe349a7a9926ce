//! `helenus inspect`: what the files of a data directory hold.
//!
//! Everything is read-only and takes no lock, so it is safe beside a running node; a file that the node removes
//! meanwhile is said to be gone, and the rest is shown. What is damaged is shown as far as it can be read, then
//! named with file and offset on standard error, and the exit status is 1.
//!
//! Reading order: this page, [`sstable`], [`mod@commit_log`], [`manifest`], [`data_dir`], [`hints`], [`key`].

mod commit_log;
mod data_dir;
mod hints;
mod key;
mod manifest;
mod sstable;

use std::{collections::BTreeSet, io::ErrorKind, ops::RangeInclusive, path::Path};

use helenus_storage::Error;

use super::output;

/// The subcommands of `inspect`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what SSTables hold
    #[command(before_help = "Example: helenus inspect sstable .helenus/node1/data/*.sst")]
    Sstable(sstable::Sstable),
    /// Show what the commit log holds, and how each segment of it ends
    #[command(before_help = "Example: helenus inspect commit-log .helenus/node1/data")]
    CommitLog(commit_log::CommitLog),
    /// Show what the manifest of a data directory says
    #[command(before_help = "Example: helenus inspect manifest .helenus/node1/data -o json")]
    Manifest(manifest::Manifest),
    /// Show the hints that a data directory keeps for other nodes, and who has to be repaired
    #[command(before_help = "Example: helenus inspect hints .helenus/node1/data")]
    Hints(hints::Hints),
    /// Show the tables of a data directory by their levels, and what else is in it
    #[command(before_help = "Example: helenus inspect data-dir .helenus/node1/data")]
    DataDir(data_dir::DataDir),
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// When something is damaged or cannot be read; it is told already where there was more to show.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Sstable(command) => command.run(),
            Self::CommitLog(command) => command.run(),
            Self::Manifest(command) => command.run(),
            Self::Hints(command) => command.run(),
            Self::DataDir(command) => command.run(),
        }
    }
}

/// Tells of what could not be read, as it is met, and remembers that there was something.
#[derive(Debug, Default)]
struct Findings {
    failed: u64,
    /// What is told once.
    told: BTreeSet<String>,
}

impl Findings {
    fn note(&mut self, error: &Error) {
        match error {
            Error::Io { path, cause, .. } if cause.kind() == ErrorKind::NotFound => {
                self.tell(&format!("error: {}: no such file; what is merged is removed", path.display()));
            }
            error => self.tell(&format!("error: {error}")),
        }
    }

    /// Segments of the commit log that should be there, told once.
    fn note_missing(&mut self, missing: &[RangeInclusive<u64>], directory: &Path) {
        for range in missing {
            let which = match (*range.start(), *range.end()) {
                (first, last) if first == last => format!("segment {last} of the commit log is"),
                (first, last) => format!("segments {first} to {last} of the commit log are"),
            };
            let text = format!("error: {which} missing in {}", directory.display());
            if self.told.insert(text.clone()) {
                self.tell(&text);
            }
        }
    }

    /// As [`Findings::note`], of what is no error of a file.
    fn tell(&mut self, text: &str) {
        output::error(text);
        self.failed += 1;
    }

    /// As [`Findings::note`], of files that are read more than once.
    fn note_once(&mut self, error: &Error) {
        if self.told.insert(error.to_string()) {
            self.note(error);
        }
    }

    fn is_empty(&self) -> bool {
        self.failed == 0
    }

    fn outcome(self) -> anyhow::Result<()> {
        match self.failed {
            0 => Ok(()),
            count => Err(anyhow::anyhow!("{} could not be read", output::counted(count, "thing"))),
        }
    }
}
