//! The topics of reports.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    ClusterDescription, ClusterStatus, CompactionReport, Endpoints, FailureDetectorReport, GossipStatus,
    NodeInfo, RingReport, TableHistograms, TablesReport, cluster, compactions, endpoints, failure_detector,
    gossip, info, ring, source::Source, status, tables,
};
use crate::{node::HintStatus, node_id::HostId};

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
    Cluster {
        /// Which schemas members said they know when they were asked; of others it is what gossip brought last.
        schemas: BTreeMap<HostId, u64>,
    },
    /// What was heard of the members.
    Gossip,
    /// Whom the node takes for dead.
    FailureDetector,
    /// What the node keeps for members that missed it.
    Hints,
    /// What the node stores of all tables, or of one.
    Tables {
        /// The one.
        table: Option<String>,
    },
    /// How its local reads and writes of a table are spread.
    Histograms {
        /// The table.
        table: String,
    },
    /// Merges of its SSTables.
    Compactions,
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
    Hints(HintStatus),
    Endpoints(Endpoints),
    Tables(TablesReport),
    Histograms(TableHistograms),
    Compactions(CompactionReport),
}

impl Topic {
    /// The report; `None` if it is about a table that the node does not know.
    pub(crate) fn report(&self, source: &Source) -> Option<Report> {
        Some(match self {
            Self::Status => Report::Status(status::of(source)),
            Self::Ring { table } => Report::Ring(ring::of(source, table.as_deref())?),
            Self::Info => Report::Info(Box::new(info::of(source))),
            Self::Cluster { schemas } => Report::Cluster(cluster::of(source, schemas)),
            Self::Gossip => Report::Gossip(gossip::of(source)),
            Self::FailureDetector => Report::FailureDetector(failure_detector::of(source)),
            Self::Hints => Report::Hints(source.hints.status()),
            Self::Tables { table } => Report::Tables(tables::of(source, table.as_deref())?),
            Self::Histograms { table } => Report::Histograms(tables::histograms(source, table)?),
            Self::Compactions => Report::Compactions(compactions::of(source)),
            Self::Endpoints { table, key } => Report::Endpoints(endpoints::of(source, table, key)?),
        })
    }
}
