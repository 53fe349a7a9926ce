//! Structured logs on standard error, whose filter can be changed while the process runs, and in which lines that repeat
//! are counted ([`super::repeats`]).

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::ParseError,
    fmt,
    layer::{Context, Layer, SubscriberExt},
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use super::repeats::Repeats;
use crate::config::live::MAX_VALUE_BYTES;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Levels that a filter may give a target.
pub(crate) const LEVEL_NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Longest target.
const MAX_TARGET_BYTES: usize = 128;

/// Whether a filter may name it: a path of modules.
pub(crate) fn is_target(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    !text.is_empty() && text.len() <= MAX_TARGET_BYTES && text.bytes().all(is_plain)
}

/// Why logging did not start, or its filter was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not of the form `info,helenus_cluster=debug`.
    #[error("invalid log filter: {0}")]
    Filter(#[from] ParseError),
    /// With one more directive it would be longer than a setting may be.
    #[error(
        "the filter of the log would be longer than {MAX_VALUE_BYTES} bytes; a level without a target, or a change of \
         log.filter, makes it shorter"
    )]
    TooLong,
    /// This process logs already.
    #[error("logging is already set up: {0}")]
    AlreadyStarted(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the log filter cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// The filter of the process's log.
#[derive(Debug)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
    held: Mutex<Held>,
    repeats: Repeats,
}

#[derive(Debug)]
struct Held {
    directives: String,
    /// Whether some level of them holds until the process ends, whatever the settings say.
    is_passing: bool,
}

impl LogFilter {
    /// The directives that hold now.
    pub fn directives(&self) -> String {
        self.held.lock().directives.clone()
    }

    /// The directives that hold now, if [`LogFilter::set_level`] and not the settings made them what they are.
    pub fn passing(&self) -> Option<String> {
        let held = self.held.lock();
        held.is_passing.then(|| held.directives.clone())
    }

    /// Tells every second of lines that were left out because they repeat, and whose minute is over.
    pub async fn tell_of_repeats(&self) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.repeats.tell();
        }
    }

    /// Tells of all lines that were left out: the process ends.
    pub fn end(&self) {
        self.repeats.tell_all();
    }

    /// Replaces all directives by those of the settings.
    ///
    /// # Errors
    /// [`LogsError`]; the old ones hold.
    pub fn set(&self, directives: &str) -> Result<(), LogsError> {
        self.replace(&mut self.held.lock(), Held { directives: directives.to_owned(), is_passing: false })
    }

    /// Gives one target another level until the process ends or the directives are replaced, or without a target all that
    /// have no directive of their own; the directives that hold now.
    ///
    /// # Errors
    /// [`LogsError`]; the old ones hold.
    pub fn set_level(&self, target: Option<&str>, level: &str) -> Result<String, LogsError> {
        let mut held = self.held.lock();
        let directives = with_level(&held.directives, target, level);
        if directives.len() > MAX_VALUE_BYTES {
            return Err(LogsError::TooLong);
        }
        self.replace(&mut held, Held { directives: directives.clone(), is_passing: true })?;
        Ok(directives)
    }

    fn replace(&self, held: &mut Held, next: Held) -> Result<(), LogsError> {
        self.handle.reload(EnvFilter::try_new(&next.directives)?)?;
        *held = next;
        Ok(())
    }
}

fn with_level(directives: &str, target: Option<&str>, level: &str) -> String {
    let is_replaced = |directive: &str| match target {
        Some(target) => directive.split_once('=').is_some_and(|(of, _)| of == target),
        None => !directive.contains('='),
    };
    let kept = directives.split(',').map(str::trim).filter(|one| !one.is_empty() && !is_replaced(one));
    let new = target.map_or_else(|| level.to_owned(), |target| format!("{target}={level}"));
    kept.chain([new.as_str()]).collect::<Vec<_>>().join(",")
}

/// Starts the logs of this process. `filter` is a level (`info`) or directives (`info,helenus_cluster=debug`).
///
/// # Errors
/// [`LogsError`]; nothing was started.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<LogFilter, LogsError> {
    let (reloadable, handle) = reload::Layer::new(EnvFilter::try_new(filter)?);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => {
            let coloured =
                io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(coloured).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let repeats = Repeats::default();
    let lines = lines.with_filter(repeats.clone());
    tracing_subscriber::registry().with(reloadable).with(Counting).with(lines).try_init()?;
    let held = Held { directives: filter.to_owned(), is_passing: false };
    Ok(LogFilter { handle, held: Mutex::new(held), repeats })
}

/// The levels of lines, as labels.
const LEVELS: [(Level, &str); 5] = [
    (Level::ERROR, "error"),
    (Level::WARN, "warn"),
    (Level::INFO, "info"),
    (Level::DEBUG, "debug"),
    (Level::TRACE, "trace"),
];

/// Lines of this process, in the order of [`LEVELS`].
static LINES: [AtomicU64; LEVELS.len()] = [const { AtomicU64::new(0) }; LEVELS.len()];

/// Counts what passes the filter, by level: also lines that are left out because they repeat.
struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = event.metadata().level();
        if let Some(place) = LEVELS.iter().position(|(of, _)| of == level) {
            LINES[place].fetch_add(1, Relaxed);
        }
    }
}

/// Says how many lines there were.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
    let help = "Events that passed the filter of the log, also those not written because they repeat";
    let mut counter = encoder.encode_descriptor("log_lines", help, None, MetricType::Counter)?;
    for ((_, level), lines) in LEVELS.iter().zip(&LINES) {
        counter
            .encode_family(&[("level", *level)])?
            .encode_counter::<NoLabelSet, _, u64>(&lines.load(Relaxed), None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_counted() {
        let seen = || LINES.each_ref().map(|lines| lines.load(Relaxed));
        let before = seen();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Counting), || {
            tracing::error!("one");
            tracing::debug!("two");
            tracing::debug!("three");
            tracing::trace!("four");
        });
        let after = seen();
        let new: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(new, [1, 0, 0, 2, 1]);
    }

    #[test]
    fn a_level_replaces_that_of_its_target_alone() {
        assert_eq!(with_level("info", None, "debug"), "debug");
        assert_eq!(with_level("info,a=warn", Some("b"), "trace"), "info,a=warn,b=trace");
        assert_eq!(with_level("info, a=warn,b=trace", Some("a"), "off"), "info,b=trace,a=off");
        assert_eq!(with_level("info,a=warn", None, "error"), "a=warn,error");
    }
}
