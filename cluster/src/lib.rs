//! The distributed part of Helenus: it knows tokens, replicas and time, opens no socket and reads no file of
//! its own.
//!
//! Two floors. Below, pure decisions in folders named after the techniques: given `now` and an event they say
//! what to do. Above, [`node`] is async and touches clock, randomness, storage and peers.
//!
//! Reading order (and dependency order): [`settings`], [`node_id`], [`time`], [`hybrid_clock`], [`histogram`] and [`consistency`]
//! are the words; [`table`] and [`membership`] are what nodes know of the cluster; [`partitioning`] puts keys and
//! members on a ring, [`placement`] picks the replicas, [`snitch`] says who of them is near; [`message`] is what nodes say to each other, [`error`] what
//! they say to clients, [`counted`] how counts are said; [`quorum`] counts replicas' answers, [`session`] remembers what
//! a client saw, [`handoff`] keeps what a replica missed, [`scan`] goes through the ring in order, [`admission`] says how
//! much is too much; [`wire`] makes messages bytes; [`node`] runs it all;
//! `simulation`, behind the feature of that name, runs whole clusters of them in one process.

pub mod admission;
pub mod consistency;
pub mod counted;
pub mod error;
pub mod handoff;
pub mod hybrid_clock;
pub mod membership;
pub mod message;
pub mod node;
pub mod node_id;
pub mod partitioning;
pub mod placement;
pub mod quorum;
pub mod scan;
pub mod session;
pub mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod snitch;
pub mod table;
pub mod time;
pub mod wire;

pub use helenus_storage::histogram;
