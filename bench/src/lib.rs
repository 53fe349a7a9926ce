//! What clients saw of a cluster, whether it was right, and a way to find out with real processes.
//!
//! The crate knows Helenus only by its HTTP API. In reading order: [`history`] is what clients did and what was done to
//! the cluster meanwhile, [`checkers`] are the promises as pure functions over a history, [`timeline`] shows one key's
//! part of it to a person. They do not care whether the cluster was of real processes or simulated.

pub mod history;

pub mod checkers;

pub mod timeline;
