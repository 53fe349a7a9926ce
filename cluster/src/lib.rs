//! The distributed part of Helenus: it knows tokens, replicas and time, opens no socket and reads no file of
//! its own.
//!
//! Two floors. Below, pure decisions in folders named after the techniques: given `now` and an event they say
//! what to do. Above, [`node`] is async and touches clock, randomness, storage and peers. The modules, in
//! dependency order, are the reading order.

pub mod consistency;
pub mod error;
pub mod membership;
pub mod message;
pub mod node;
pub mod node_id;
pub mod partitioning;
pub mod settings;
pub mod table;
pub mod time;
pub mod wire;
