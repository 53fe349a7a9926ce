//! The command line of the load generator: arguments to a plan, a result to a report.
//!
//! Reading order: `habits` (how YCSB's users write flags), `load` (also `run`), `progress`, `output`, `report`, `compare`.

pub(crate) mod compare;
pub(crate) mod habits;
pub(crate) mod load;
mod output;
mod progress;
pub(crate) mod report;
