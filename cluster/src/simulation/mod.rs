//! A whole cluster in one process and from one seed: what tests cannot think of, found by trying.
//!
//! Everything that decides is real: nodes, engines, codec. Everything around it is simulated: network, disks, clocks,
//! and time itself, which is tokio's, paused, so that hours pass in seconds. FoundationDB and TigerBeetle are trusted
//! because they spend years of such time (Zhou et al., *FoundationDB*, SIGMOD 2021, §6).
//!
//! ```text
//!   seed ──┬─> shape      nodes, factor, settings and bounds, weather, clocks
//!          ├─> schedule   disturbances: what, when, how long              ──> nemesis ─┐
//!          └─> streams    delays, losses, damages, step times                          ▼
//!                                                    machine 1 … n: disk, clock, supervisor, process
//!   clients (of the caller) ── write, read ──>       network: links, weather, real frames
//!                                                              └──> trace: one hash over all that happens
//! ```
//!
//! # Determinism
//!
//! Equal seeds give equal traces in every process. So there is one thread; each random choice comes from a stream named
//! after its purpose; collections are ordered; each `select!` is biased; no wall clock is read. A schedule is drawn
//! before it is carried out, so leaving a part of it away changes nothing else that was drawn.
//!
//! # What is not real
//!
//! A node's timers run on while it is paused: only messages, disk and clients wait. A step of the engine happens at
//! one moment, after the time that it takes; a power cut within it comes from the disk ([`Fault::CrashWithin`]). A task
//! of a dead process is not torn out of memory, but cut off from everything, and ends by itself. Nothing rots: until
//! replicas can repair each other, a node that finds rot refuses to start, and the cluster could not become whole.
//!
//! Rejected: turning every part of the node into a state machine without I/O and an event loop of our own. It would run
//! faster still, but simulate a node that is not the one in production.
//!
//! Reading order: [`trace`], [`clock`], [`weather`], `frame`, `network`, `driver`, `machine`, [`shape`], [`fault`],
//! [`schedule`], [`cluster`], [`nemesis`], `farewell`.

pub mod clock;
pub mod cluster;
mod driver;
mod farewell;
pub mod fault;
mod frame;
mod machine;
pub mod nemesis;
mod network;
pub mod schedule;
pub mod shape;
pub mod trace;
pub mod weather;

pub use cluster::{Reply, SimulatedCluster};
pub use fault::{Disturbance, Fault, Silence};
pub use nemesis::{Disturbed, disturb};
pub use shape::Shape;
pub use trace::Trace;

use rand_xoshiro::Xoshiro256PlusPlus;

/// The random stream of a purpose, from a seed: for clients and whoever else takes part.
pub fn stream(seed: u64, purpose: &str) -> Xoshiro256PlusPlus {
    crate::node::randomness::stream(seed, purpose)
}
