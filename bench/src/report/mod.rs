//! How a run is told: each form is a function of a [`RunResult`](crate::measurement::RunResult), and of nothing else.
//!
//! [`pretty`] for people at a terminal, [`ycsb`] for scripts that read YCSB, [`html`] for people who look at pictures
//! (drawn in `svg`), [`HdrLogs`] for HdrHistogram's tools. [`Baseline`] compares two runs; `statistics` says whether a
//! difference means something. [`Levels`] puts many runs side by side.

mod baseline;
mod chart;
mod hdr_log;
mod html;
mod levels;
mod pretty;
mod statistics;
mod units;
mod ycsb;

pub use baseline::{Baseline, Change};
pub use hdr_log::HdrLogs;
pub use html::html;
pub use levels::Levels;
pub use pretty::pretty;
pub use statistics::Sample;
pub use ycsb::{Exporter, Intervals, YcsbReport, status_line};
