//! Load on a cluster, and what it says; what clients saw of a cluster, and whether it was right.
//!
//! The crate knows Helenus only by its HTTP API. Two halves, each in reading order:
//!
//! The load generator, YCSB-compatible: [`properties`] say what to do, [`generators`] draw numbers, a [`workload`] makes
//! operations of them, a [`client`] speaks to servers, [`pacing`] says when, [`measurement`] what came of it, [`load`] is
//! the whole, [`report`] tells it, [`compare`] does it to several targets in turn.
//!
//! Promises: [`history`] is what clients did and what was done to the cluster meanwhile, [`checkers`] are the promises as
//! pure functions over a history, [`timeline`] shows one key's part of it to a person. They do not care whether the
//! cluster was of real processes or simulated.

pub mod properties;

pub mod generators;

pub mod workload;

pub mod client;

pub mod pacing;

pub mod measurement;

pub mod load;

pub mod report;

pub mod compare;

pub mod history;

pub mod checkers;

pub mod timeline;
