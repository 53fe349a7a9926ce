//! The command line of the load generator: arguments to a plan, a result to a report.
//!
//! Reading order: `habits` (how YCSB's users write flags), `load` (also `run`), `halfway`, `interrupt`, `progress`,
//! `output`, `report`, `compare`.

pub(crate) mod compare;
pub(crate) mod habits;
mod halfway;
mod interrupt;
pub(crate) mod load;
mod output;
mod progress;
pub(crate) mod report;
