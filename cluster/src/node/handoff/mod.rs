//! Hinted handoff on this node: keeps hints in the engine, sends them when their targets are back, takes those of others.
//!
//! ```text
//!   coordinator ── keep ──▶ runs ── durable hints, oldest first ─▶ delivery ──▶ peers ⇒ receiver ──▶ replica
//!                            │                                       │
//!                            ├── saved: which runs there are, cursors ◀
//!                            └── marks: what was given up
//! ```
//!
//! What becomes of a hint, and how much a receiver takes, is decided in [`crate::handoff`].
//!
//! Reading order: [`saved`], [`run`], [`runs`], [`keeping`], [`handing_out`], [`marks`], [`delivery`], [`receiver`], [`status`],
//! [`stored`].

mod delivery;
mod errands;
mod handing_out;
mod keeping;
mod marks;
mod receiver;
mod run;
mod runs;
mod saved;
mod status;
mod stored;

pub(crate) use delivery::Delivery;
pub(crate) use keeping::NotKept;
pub(crate) use receiver::Receiver;
pub(crate) use runs::Hints;
pub use status::{Handoff, HintCounters, HintStatus, HintedTarget};
pub use stored::{StoredHints, StoredRun};
