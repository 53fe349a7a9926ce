//! What the engine promises, one module per promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod background;
mod bounds;
mod durability;
mod full_disk;
mod model;
mod purge;
mod reads;
mod rig;
mod rot;
mod tickets;
