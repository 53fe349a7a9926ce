//! A load on a cluster: clients on few threads, each with one connection and one operation at a time.
//!
//! ```text
//! Plan ─▶ run ─▶ a thread each: one-thread runtime ─▶ a Course for each client
//!          │                                            Schedule ─▶ Session ─▶ Client ─▶ Recorder
//!          └ collects, shows progress ─▶ RunResult
//! ```
//!
//! Threads share nothing but counters of what is inserted and left to do: a client's whole life is on one thread.
//!
//! Reading order: [`Plan`], `course` (one client), `worker` (one thread), [`run`], `target` (what the server is, and its
//! table), `ring` (where keys are).

mod course;
mod engine;
mod plan;
mod ring;
mod target;
mod worker;

pub use engine::{HEAD_START, Progress, run};
pub use plan::Plan;
pub use target::{Routing, Target, TargetError};
