//! Hinted handoff on this node: keeps hints in the engine, sends them when their targets are back, takes those of others.
//!
//! ```text
//!   coordinator ── keep ──▶ runs ── closed runs, oldest first ──▶ delivery ──▶ peers ⇒ receiver ──▶ replica
//!                            │                                       │
//!                            ├── saved: which runs there are, cursors ◀
//!                            └── marks: what was given up
//! ```
//!
//! What becomes of a hint, and how much a receiver takes, is decided in [`crate::handoff`].
//!
//! Reading order: [`saved`], [`runs`], [`marks`], [`delivery`], [`receiver`], [`status`], [`stored`].

mod delivery;
mod marks;
mod receiver;
mod runs;
mod saved;
mod status;
mod stored;

pub(crate) use delivery::Delivery;
pub(crate) use receiver::Receiver;
pub(crate) use runs::Hints;
pub use status::{Handoff, HintCounters, HintStatus, HintedTarget};
pub use stored::{StoredHints, StoredRun};
