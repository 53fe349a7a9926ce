//! What one node knows of its cluster and of itself, for people. Answered from memory: no report waits for a peer, so the
//! dead keep nobody from learning that they are.
//!
//! ```text
//!   topic              who asks                        made of
//!   Status             nodetool status                 view, liveness, ownership by the table `default`
//!   Ring               nodetool ring                   the same with all tokens, ownership by any table
//!   Info               nodetool info                   this node alone
//!   Cluster            nodetool describecluster        name, schema versions, releases, datacenters
//!   Gossip             nodetool gossipinfo             what every member says of itself
//!   FailureDetector    nodetool failuredetector        what this node believes of every peer
//!   Hints              nodetool listpendinghints       what this node keeps for members that missed it
//!   Endpoints          nodetool getendpoints           placement of a key
//!   Tables             nodetool tablestats             what this node stores of each table
//!   Histograms         nodetool tablehistograms        how its local reads and writes of a table are spread
//!   Compactions        nodetool compactionstats        merges of SSTables that are under way
//! ```
//!
//! The fields are names for programs and stay; whoever shows them chooses the form.
//!
//! Reading order: [`source`], [`status`], [`ring`], [`info`], [`cluster`], [`gossip`], [`failure_detector`],
//! [`endpoints`], [`tables`], [`compactions`], [`topic`]; [`counters`] are the numbers for metrics.

pub mod cluster;
pub mod compactions;
pub mod counters;
pub mod endpoints;
pub mod failure_detector;
pub mod gossip;
pub mod info;
pub mod ring;
pub(super) mod source;
pub mod status;
pub mod tables;
pub mod topic;

pub use cluster::ClusterDescription;
pub use compactions::CompactionReport;
pub use counters::NodeCounters;
pub use endpoints::Endpoints;
pub use failure_detector::FailureDetectorReport;
pub use gossip::{GossipStatus, GossipedMember, PeerHealth};
pub use info::NodeInfo;
pub use ring::RingReport;
pub use status::{ClusterStatus, MemberStatus};
pub use tables::{TableHistograms, TablesReport};
pub use topic::{Report, Topic};
