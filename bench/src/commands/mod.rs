//! The command line of the load generator: arguments to a plan, a result to a report.
//!
//! Reading order: `habits` (how YCSB's users write flags), `load` (also `run`), `halfway`, `interrupt`, `progress`,
//! `status`, `output`, `report`, `compare`.

use std::fmt::{self, Display, Formatter};

pub(crate) mod compare;
pub(crate) mod habits;
mod halfway;
mod interrupt;
pub(crate) mod load;
mod output;
mod progress;
pub(crate) mod report;
mod status;

/// What was asked for cannot be: the command line, a property, a line-up. Ends the command with status 2.
#[derive(Debug)]
pub(crate) struct Misuse(anyhow::Error);

impl Display for Misuse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Misuse {}

/// An error here is the asker's.
pub(crate) fn misused<T>(outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    outcome.map_err(|error| Misuse(error).into())
}
