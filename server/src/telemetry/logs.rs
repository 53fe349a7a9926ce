//! Structured logs on standard error.

use std::io;

use tracing_subscriber::{EnvFilter, filter::ParseError, util::TryInitError};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not of the form `info,helenus_cluster=debug`.
    #[error("invalid log filter: {0}")]
    Filter(#[from] ParseError),
    /// This process logs already.
    #[error("logging is already set up: {0}")]
    AlreadyStarted(#[from] TryInitError),
}

/// Starts the logs of this process. `filter` is a level (`info`) or directives (`info,helenus_cluster=debug`).
///
/// # Errors
/// [`LogsError`]; nothing was started.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<(), LogsError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let coloured =
                io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            logs.with_ansi(coloured).finish().try_init()?;
        }
        LogFormat::Json => logs.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
