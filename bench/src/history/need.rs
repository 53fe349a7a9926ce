//! How many replicas an operation needs, and when two operations always share one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Header, Level, Operation};

/// Some of the nodes, and how many replicas of each key they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datacenter {
    /// Its nodes.
    pub nodes: Vec<u32>,
    /// Replicas of each key among them.
    pub factor: u32,
}

/// Replicas that an operation needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// In all, as its coordinator must say.
    pub required: u32,
    /// In all, that hold it for sure when it is acknowledged: a hint is none.
    pub total: u32,
    /// In each datacenter, by its place, where it needs some there.
    pub by_datacenter: BTreeMap<usize, u32>,
}

impl Header {
    /// What an operation needs.
    pub fn need(&self, operation: &Operation) -> Need {
        let Operation { level, coordinator, .. } = operation;
        let own = self.datacenters.iter().position(|datacenter| datacenter.nodes.contains(coordinator));
        let majority = |datacenter: &Datacenter| datacenter.factor / 2 + 1;
        let by_datacenter: BTreeMap<usize, u32> = match (level, own) {
            (Level::LocalOne, Some(own)) => [(own, 1)].into(),
            (Level::LocalQuorum, Some(own)) => [(own, majority(&self.datacenters[own]))].into(),
            (Level::EachQuorum, Some(_)) => self.datacenters.iter().map(majority).enumerate().collect(),
            _ => BTreeMap::new(),
        };
        let required = match by_datacenter.is_empty() {
            true => level.required(self.factor),
            false => by_datacenter.values().sum(),
        };
        let total = if *level == Level::Any { 0 } else { required };
        Need { required, total, by_datacenter }
    }

    /// Whether two operations with these needs always share a replica.
    pub fn overlap(&self, a: &Need, b: &Need) -> bool {
        if a.total.saturating_add(b.total) > self.factor {
            return true;
        }
        self.datacenters.iter().enumerate().any(|(place, datacenter)| {
            match (a.by_datacenter.get(&place), b.by_datacenter.get(&place)) {
                (Some(a), Some(b)) => a + b > datacenter.factor,
                _ => false,
            }
        })
    }
}
