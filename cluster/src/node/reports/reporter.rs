//! Answers questions of operators.

use std::sync::Arc;

use serde::Serialize;

use super::{
    ClusterDescription, ClusterStatus, Endpoints, FailureDetectorReport, GossipStatus, NodeCounters,
    NodeInfo, RingReport, cluster, counters, endpoints, failure_detector, gossip, info, ring, status,
};
use crate::{
    node::{
        clock::NodeClock, coordinator::Coordinator, identity::LocalIdentity, known_cluster::KnownCluster,
        local_store::LocalStore,
    },
    settings::Settings,
};

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// The members.
    Status,
    /// The tokens in order, and what each member owns.
    Ring {
        /// With the replicas of this table; the owner alone counts without one.
        table: Option<String>,
    },
    /// The node that is asked.
    Info,
    /// The cluster as a whole.
    Cluster,
    /// What was heard of the members.
    Gossip,
    /// Whom the node takes for dead.
    FailureDetector,
    /// Where the replicas of a key are.
    Endpoints {
        /// The table.
        table: String,
        /// The key.
        key: Vec<u8>,
    },
}

/// A report on a [`Topic`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each is named like its topic")]
pub enum Report {
    Status(ClusterStatus),
    Ring(RingReport),
    Info(Box<NodeInfo>),
    Cluster(ClusterDescription),
    Gossip(GossipStatus),
    FailureDetector(FailureDetectorReport),
    Endpoints(Endpoints),
}

/// Makes the reports of one node.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) settings: Settings,
    pub(crate) identity: Arc<LocalIdentity>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<KnownCluster>,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) coordinator: Arc<Coordinator>,
}

impl Reporter {
    /// A report; `None` if it is about a table that the node does not know.
    pub(crate) fn report(&self, topic: &Topic) -> Option<Report> {
        Some(match topic {
            Topic::Status => Report::Status(self.status()),
            Topic::Ring { table } => Report::Ring(ring::of(self, table.as_deref())?),
            Topic::Info => Report::Info(Box::new(info::of(self))),
            Topic::Cluster => Report::Cluster(cluster::of(self)),
            Topic::Gossip => Report::Gossip(self.gossip()),
            Topic::FailureDetector => Report::FailureDetector(failure_detector::of(self)),
            Topic::Endpoints { table, key } => {
                Report::Endpoints(endpoints::of(self.identity.partitioner(), &self.cluster, table, key)?)
            }
        })
    }

    pub(crate) fn counters(&self) -> NodeCounters {
        counters::of(self)
    }

    pub(crate) fn status(&self) -> ClusterStatus {
        status::of(self)
    }

    pub(crate) fn gossip(&self) -> GossipStatus {
        gossip::of(self.identity.host_id(), &self.cluster, &self.clock)
    }
}
