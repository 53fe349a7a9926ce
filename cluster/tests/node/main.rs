//! What nodes promise, shown on whole clusters in one process.

mod support;

mod clocks;
mod faults;
mod forming;
mod identity;
mod joining;
mod quorums;
mod refusals;
mod replicas;
