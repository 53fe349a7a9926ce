//! Several targets under the same load, in turn, and one table of ratios.
//!
//! A [`Lineup`] names the targets: servers of Helenus or etcd, with the commands that start and stop them, or a command that
//! brings its own load and prints figures, as cassandra-stress does. Only ratios of one run on one machine count.

mod figures;
mod lineup;
mod ratios;

pub use figures::Figures;
pub use lineup::{Kind, Lineup, LineupError, TargetSpec};
pub use ratios::ratios;
