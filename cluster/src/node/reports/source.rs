//! What reports are made from.

use std::sync::Arc;

use crate::{
    node::{
        clock::NodeClock, coordinator::Coordinator, handoff::Hints, identity::LocalIdentity,
        known_cluster::KnownCluster, local_store::LocalStore, table_meters::TableMeters,
    },
    settings::Settings,
};

/// The parts of a node that know something worth reporting.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) settings: Settings,
    pub(crate) identity: Arc<LocalIdentity>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<KnownCluster>,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) hints: Arc<Hints>,
    pub(crate) meters: Arc<TableMeters>,
}
