//! The file that names targets.

use std::path::PathBuf;

use serde::Deserialize;

/// Why a file is no line-up.
#[derive(Debug, thiserror::Error)]
pub enum LineupError {
    /// It is not TOML, or has members that nobody knows.
    #[error("{path}: {error}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// With line and column.
        error: toml::de::Error,
    },

    /// A target lacks what its kind needs.
    #[error("{path}: target {name:?}: {why}", path = path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The target.
        name: String,
        /// What it needs.
        why: &'static str,
    },
}

/// Targets in the order in which they are loaded; the first is what others are compared with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineup {
    /// Them.
    #[serde(rename = "target")]
    pub targets: Vec<TargetSpec>,
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Servers of Helenus.
    Helenus,
    /// Servers of etcd 3, by their JSON gateway.
    Etcd,
    /// A command with a load of its own, which prints figures.
    Command,
}

/// A target. Commands run by `sh -c`, in the current directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Its row in the table.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Of servers: where they listen.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Of Helenus: the level.
    pub consistency: Option<String>,
    /// Of Helenus: the sync mode it is started with, for the table.
    pub sync_mode: Option<String>,
    /// Starts it; returns when it runs, or runs in the background. Here and in `command`, `{threads}`, `{seconds}`,
    /// `{fieldcount}` and `{fieldlength}` (bytes) are replaced by those of the load.
    pub start: Option<String>,
    /// Stops it; also run if something failed.
    pub stop: Option<String>,
    /// Of a command: what loads it.
    pub command: Option<String>,
}

impl Lineup {
    /// Parses a file's text.
    ///
    /// # Errors
    /// If it is no line-up; with line and column, or the name of the target.
    pub fn parse(path: PathBuf, text: &str) -> Result<Self, LineupError> {
        let lineup: Self = match toml::from_str(text) {
            Ok(lineup) => lineup,
            Err(error) => return Err(LineupError::Syntax { path, error }),
        };
        let lacks = |target: &TargetSpec| match target.kind {
            Kind::Command if target.command.is_none() => Some("a command needs `command`"),
            Kind::Helenus | Kind::Etcd if target.endpoints.is_empty() => Some("servers need `endpoints`"),
            _ => None,
        };
        let incomplete = lineup.targets.iter().find_map(|target| Some((target.name.clone(), lacks(target)?)));
        match incomplete {
            Some((name, why)) => Err(LineupError::Incomplete { path, name, why }),
            None => Ok(lineup),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_lacks_something_is_named() {
        let parse = |text: &str| Lineup::parse("l.toml".into(), text);
        let good = "[[target]]\nname='a'\nkind='etcd'\nendpoints=['http://h:1']";
        assert_eq!(parse(good).expect("a line-up").targets.len(), 1);
        for (text, part) in [
            ("[[target]]\nname='a'\nkind='etcd'", "\"a\": servers need `endpoints`"),
            ("[[target]]\nname='b'\nkind='command'", "\"b\": a command needs `command`"),
            ("[[target]]\nname='b'\nkind='redis'", "line 3"),
            ("[[target]]\nname='b'\nkind='etcd'\nendpoint='x'", "endpoint"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
