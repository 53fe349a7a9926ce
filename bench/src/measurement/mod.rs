//! What operations took, counted so that it can be trusted.
//!
//! ```text
//! clients of a thread ─▶ Recorder ─ an interval's tallies ─▶ Collector ─▶ totals, a row for each interval ─▶ RunResult
//! ```
//!
//! Successes and failures have histograms of their own: a server that refuses quickly must not look fast. All times are
//! microseconds, to three significant digits (HdrHistogram). Operations that were due during the warm-up are counted and
//! else forgotten. An operation belongs to the interval in which it ended.
//!
//! Reading order: `tally`, `recorder`, `collector`, then [`RunResult`], which is the JSON of a run and all that reports
//! know, `machine` (whose processors did it).

mod collector;
mod latencies;
mod machine;
mod recorder;
mod result;
mod tally;

pub use collector::{Collector, Parcel};
pub use latencies::{Latencies, PERCENTILES};
pub use machine::{Host, ProcessorTime};
pub use recorder::{Measured, Recorder};
pub use result::{
    Event, Generator, IntervalResult, OperationResult, OperationRow, RESULT_FORMAT, RunResult, Server,
    Settings,
};
pub use tally::{Interval, Tally};
