//! Settings that operators change while the node runs. What they changed is kept in its data directory and wins over all
//! other sources at the next start, until it is reset.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde_json::Value;

use super::{Config, Effective, Report, Sources};

/// Their names.
pub const LIVE_SETTINGS: [&str; 5] = [
    "coordinator.read_timeout",
    "coordinator.slow_request_threshold",
    "coordinator.write_timeout",
    "log.filter",
    "storage.compaction_throughput",
];

/// The file in the data directory: `section.key=value` a line.
const FILE_NAME: &str = "live-settings";
/// Longest value: a filter of many directives.
const MAX_VALUE_BYTES: usize = 4096;

/// The settings of a running node.
#[derive(Debug)]
pub struct LiveSettings {
    directory: PathBuf,
    /// What the other sources say.
    configured: BTreeMap<&'static str, Value>,
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
    /// Whether it was changed.
    pub is_changed: bool,
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
    /// Everything that is wrong with any of them.
    pub fn load(mut sources: Sources) -> Result<(Self, Effective), Report> {
        let configured = Effective::load(&sources)?;
        let directory = configured.config.node.data_directory.clone();
        let changed = read(&directory);
        sources.overrides.extend(changed.iter().map(|(name, value)| format!("{name}={value}")));
        let effective = Effective::load(&sources)?;
        let configured = LIVE_SETTINGS.map(|name| (name, value_in(&configured, name))).into();
        Ok((Self { directory, configured, changed: Mutex::new(changed) }, effective))
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<LiveSetting> {
        let changed = self.changed.lock();
        let shown = self.configured.iter().map(|(&name, configured)| {
            let text = changed.get(name);
            let value = text.and_then(|text| Some(value_in(&alone(name, text).ok()?, name)));
            LiveSetting {
                name,
                value: value.unwrap_or_else(|| configured.clone()),
                configured: configured.clone(),
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
        let Some((&name, configured)) = self.configured.get_key_value(name) else {
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
        write(&self.directory, &next)?;
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

fn value_in(effective: &Effective, name: &str) -> Value {
    effective.settings().find(|(of, ..)| of == name).map_or(Value::Null, |(_, value, _)| value)
}

/// What was changed. What is not ours to read is left alone: the configured values hold then.
fn read(directory: &Path) -> BTreeMap<&'static str, String> {
    let text = fs::read_to_string(directory.join(FILE_NAME)).unwrap_or_default();
    let known = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = LIVE_SETTINGS.into_iter().find(|known| *known == name)?;
        alone(name, value).is_ok().then(|| (name, value.to_owned()))
    };
    text.lines().filter_map(known).collect()
}

/// Durably, and all or nothing.
fn write(directory: &Path, changed: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let new = directory.join(format!("{FILE_NAME}.new"));
    let mut file = File::create(&new)?;
    for (name, value) in changed {
        writeln!(file, "{name}={value}")?;
    }
    file.sync_all()?;
    fs::rename(&new, directory.join(FILE_NAME))?;
    File::open(directory)?.sync_all()
}
