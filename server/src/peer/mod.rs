//! skeleton
mod backoff;
pub mod client;
pub mod frame;
pub mod greeting;
mod inbound;
mod link;
pub mod listener;
mod outbox;
mod refusals;
pub mod settings;
mod socket;
