//! Who draws the cluster id.

use std::collections::BTreeMap;

use crate::{node_id::ClusterId, table::Replication};

/// What a node that belongs to no cluster has heard of its seeds.
///
/// A node without seeds forms a cluster of its own. Otherwise the first seed of the list does, once it has asked all
/// other seeds and none belongs to a cluster: it may be an old cluster's seed that has lost its disk. If the others
/// were merely unreachable then, two clusters of one name exist; their ids differ, and they never talk. Rejected:
/// an election, which needs a majority of members that nobody knows yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formation {
    is_first_seed: bool,
    seeds: BTreeMap<String, Heard>,
    has_seeds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    NoCluster,
    Cluster,
}

/// What a node without a cluster does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormationVerdict {
    /// It forms one.
    Form,
    /// It asks on.
    Wait {
        /// For whom and what, for the status.
        why: String,
    },
}

/// Replication of the table `default` in a cluster that is formed now. The node that forms it is alone and knows no other
/// datacenter, so replicas are placed by datacenter only where the settings name them.
pub fn default_replication(configured: Option<Replication>, has_seeds: bool) -> Replication {
    configured.unwrap_or(Replication::Simple { factor: if has_seeds { 3 } else { 1 } })
}

impl Formation {
    /// A node at `advertise` that was given these seeds.
    pub fn new(advertise: &str, seeds: &[String]) -> Self {
        let others = seeds.iter().filter(|seed| *seed != advertise);
        Self {
            is_first_seed: seeds.first().is_some_and(|first| first == advertise),
            seeds: others.map(|seed| (seed.clone(), Heard::Nothing)).collect(),
            has_seeds: !seeds.is_empty(),
        }
    }

    /// A seed has answered, and belongs to this cluster or to none.
    pub fn on_answer(&mut self, seed: &str, cluster_id: Option<ClusterId>) {
        self.note(seed, if cluster_id.is_some() { Heard::Cluster } else { Heard::NoCluster });
    }

    /// A seed could not be asked, or did not answer in time.
    pub fn on_failure(&mut self, seed: &str) {
        self.note(seed, Heard::NoCluster);
    }

    /// Whether to form a cluster now.
    pub fn verdict(&self) -> FormationVerdict {
        if !self.has_seeds {
            return FormationVerdict::Form;
        }
        let heard = |what: Heard| self.seeds.iter().filter(move |(_, heard)| **heard == what);
        let names = |what: Heard| heard(what).map(|(seed, _)| seed.as_str()).collect::<Vec<_>>().join(", ");
        if heard(Heard::Cluster).next().is_some() {
            helenus_storage::sometimes!("a first seed found its cluster");
            let why = format!("waiting to be listed by the cluster of {}", names(Heard::Cluster));
            return FormationVerdict::Wait { why };
        }
        if !self.is_first_seed {
            let seeds: Vec<_> = self.seeds.keys().map(String::as_str).collect();
            let why = format!("waiting for a seed that belongs to a cluster: {}", seeds.join(", "));
            return FormationVerdict::Wait { why };
        }
        if heard(Heard::Nothing).next().is_some() {
            helenus_storage::sometimes!("a formation waits for seeds");
            let why = format!("asking the other seeds for a cluster: {}", names(Heard::Nothing));
            return FormationVerdict::Wait { why };
        }
        FormationVerdict::Form
    }

    /// A seed that once belonged to a cluster is not taken for a seed without one.
    fn note(&mut self, seed: &str, new: Heard) {
        if let Some(heard) = self.seeds.get_mut(seed)
            && *heard != Heard::Cluster
        {
            *heard = new;
        }
    }
}
