//! Settings that operators change while the node runs. What they changed is kept in its data directory and wins over all
//! other sources at the next start, until it is reset.

mod file;

use std::{collections::BTreeMap, io, path::PathBuf};

use parking_lot::Mutex;
use serde_json::Value;

use super::{Config, Effective, Origin, Report, Sources};

pub use file::Damaged;

/// Their names.
pub const LIVE_SETTINGS: [&str; 5] = [
    "coordinator.read_timeout",
    "coordinator.slow_request_threshold",
    "coordinator.write_timeout",
    "log.filter",
    "storage.compaction_throughput",
];

/// Longest value: a filter of many directives.
pub(crate) const MAX_VALUE_BYTES: usize = 4096;

/// The settings of a running node.
#[derive(Debug)]
pub struct LiveSettings {
    directory: PathBuf,
    /// What the other sources say, and which of them.
    configured: BTreeMap<&'static str, (Value, Origin)>,
    changed: Mutex<BTreeMap<&'static str, String>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// What it would be without the change.
    pub configured: Value,
    /// Who says that.
    pub origin: Origin,
    /// Whether it was changed.
    pub is_changed: bool,
}

/// Why a node does not know its settings.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The sources are wrong.
    #[error(transparent)]
    Wrong(#[from] Report),
    /// What was changed cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Why a setting was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is no such setting, or it is read at the start only.
    #[error("`{0}` is no setting that can be changed in a running node; those are {all}", all = LIVE_SETTINGS.join(", "))]
    NotLive(String),
    /// The value is not one for this setting.
    #[error("{0}")]
    Invalid(String),
    /// It could not be kept, and is as it was.
    #[error("cannot keep the setting: {0}")]
    Io(#[from] io::Error),
}

impl LiveSettings {
    /// Reads the sources, and over them what was changed in the data directory that they name.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; else that what was changed cannot be read.
    pub fn load(mut sources: Sources) -> Result<(Self, Effective), LoadError> {
        let configured = Effective::load(&sources)?;
        let directory = configured.config.node.data_directory.clone();
        let changed = file::read(&directory)?;
        sources.overrides.extend(changed.iter().map(|(name, value)| format!("{name}={value}")));
        let effective = Effective::load(&sources)?;
        let configured = LIVE_SETTINGS.map(|name| (name, found(&configured, name))).into();
        Ok((Self { directory, configured, changed: Mutex::new(changed) }, effective))
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<LiveSetting> {
        let changed = self.changed.lock();
        let shown = self.configured.iter().map(|(&name, (configured, origin))| {
            let text = changed.get(name);
            let value = text.and_then(|text| Some(found(&alone(name, text).ok()?, name).0));
            LiveSetting {
                name,
                value: value.unwrap_or_else(|| configured.clone()),
                configured: configured.clone(),
                origin: origin.clone(),
                is_changed: text.is_some(),
            }
        });
        shown.collect()
    }

    /// Changes one durably, or with `None` takes the change back. `obey` is told the name, and settings of which only this
    /// one counts.
    ///
    /// # Errors
    /// [`LiveError`]; nothing has changed.
    pub fn change(
        &self,
        name: &str,
        value: Option<&str>,
        obey: impl FnOnce(&'static str, &Config),
    ) -> Result<(), LiveError> {
        let Some((&name, (configured, _))) = self.configured.get_key_value(name) else {
            return Err(LiveError::NotLive(name.to_owned()));
        };
        let text = match value {
            Some(value) if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) => {
                let problem = format!("a value has at most {MAX_VALUE_BYTES} bytes, on one line");
                return Err(LiveError::Invalid(problem));
            }
            Some(value) => value.to_owned(),
            None => configured.as_str().map_or_else(|| configured.to_string(), str::to_owned),
        };
        let effective = alone(name, &text).map_err(|report| LiveError::Invalid(report.in_a_line()))?;
        let mut changed = self.changed.lock();
        let mut next = changed.clone();
        match value {
            Some(_) => next.insert(name, text),
            None => next.remove(name),
        };
        file::write(&self.directory, &next)?;
        *changed = next;
        // Under the lock: of two changes the last one counts for both.
        obey(name, &effective.config);
        Ok(())
    }
}

/// The defaults, but for one setting.
fn alone(name: &str, value: &str) -> Result<Effective, Report> {
    Effective::load(&Sources { overrides: vec![format!("{name}={value}")], ..Sources::default() })
}

fn found(effective: &Effective, name: &str) -> (Value, Origin) {
    let setting = effective.settings().find(|(of, ..)| of == name);
    setting.map_or((Value::Null, Origin::Default), |(_, value, origin)| (value, origin))
}
