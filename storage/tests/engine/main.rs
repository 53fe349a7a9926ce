//! What the engine promises, one module per promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod amplification;
mod background;
mod bounds;
mod cache;
mod dropping;
mod durability;
mod full_disk;
mod major;
mod merge_rig;
mod merging;
mod model;
mod pacing;
mod pages;
mod purge;
mod reads;
mod rig;
mod rot;
mod tickets;
#[path = "../crash_images/campaign/watch.rs"]
mod watch;
