//! What nodes promise, shown on whole clusters in one process.

#![allow(unreachable_pub, reason = "the support modules are written as if they were a crate")]

mod support;

mod batches;
mod clocks;
mod coalescing;
mod datacenters;
mod evictions;
mod faults;
mod forged;
mod forming;
mod hints;
mod identity;
mod joining;
mod multigets;
mod outrun;
mod quorums;
mod readiness;
mod reads;
mod refusals;
mod removal;
mod replicas;
mod scans;
mod schema;
mod sessions;
mod traces;
mod two_clusters;
