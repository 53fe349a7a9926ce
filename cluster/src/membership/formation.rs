//! Who draws the cluster id, and which cluster a node joins.

use std::collections::BTreeMap;

use crate::{node_id::ClusterId, table::Replication};

/// What a node that belongs to no cluster has heard of its seeds, in its shadow round (Apache Cassandra's word for asking
/// before showing oneself).
///
/// A node without seeds forms a cluster of its own. Otherwise the first seed of the list does, once it has asked all
/// other seeds and none belongs to a cluster: it may be an old cluster's seed that has lost its disk. If the others
/// were merely unreachable then, two clusters of one name exist; their ids differ, and they never talk. Rejected:
/// an election, which needs a majority of members that nobody knows yet.
///
/// A node joins the cluster of its seeds, and shows itself to nobody before it has asked them all: whoever lists it
/// writes to it as to a joining member from then on. If they belong to two clusters, it joins neither. Rejected: to join
/// the one that answers first, which is another one at the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formation {
    /// Absent for a node without seeds.
    first_seed: Option<String>,
    is_first_seed: bool,
    /// All but this node.
    seeds: BTreeMap<String, Heard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Silence,
    NoCluster,
    Cluster(ClusterId),
}

/// What a node without a cluster does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormationVerdict {
    /// It forms one.
    Form,
    /// It shows itself to these seeds, which belong to it.
    Join {
        /// The cluster.
        cluster_id: ClusterId,
        /// Their addresses.
        seeds: Vec<String>,
    },
    /// It asks on.
    Wait {
        /// For whom and what, for the status.
        why: String,
    },
    /// It joins none.
    Refuse {
        /// What is wrong with the seeds, for the operator.
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
            first_seed: seeds.first().cloned(),
            is_first_seed: seeds.first().is_some_and(|first| first == advertise),
            seeds: others.map(|seed| (seed.clone(), Heard::Nothing)).collect(),
        }
    }

    /// A seed has answered, and belongs to this cluster or to none.
    pub fn on_answer(&mut self, seed: &str, cluster_id: Option<ClusterId>) {
        self.note(seed, cluster_id.map_or(Heard::NoCluster, Heard::Cluster));
    }

    /// A seed could not be asked, or did not answer in time.
    pub fn on_failure(&mut self, seed: &str) {
        self.note(seed, Heard::Silence);
    }

    /// The clusters that seeds belong to, with those seeds.
    fn clusters(&self) -> BTreeMap<ClusterId, Vec<&str>> {
        let mut clusters: BTreeMap<ClusterId, Vec<&str>> = BTreeMap::new();
        for (seed, heard) in &self.seeds {
            if let Heard::Cluster(cluster_id) = heard {
                clusters.entry(*cluster_id).or_default().push(seed);
            }
        }
        clusters
    }

    /// What is wrong with the seeds, if they belong to several clusters.
    pub fn conflict(&self) -> Option<String> {
        let clusters = self.clusters();
        if clusters.len() < 2 {
            return None;
        }
        let named = clusters.iter().map(|(cluster_id, seeds)| format!("{cluster_id} ({})", seeds.join(", ")));
        Some(format!(
            "the seeds belong to {} clusters that were formed apart: {}; name the seeds of one of them",
            clusters.len(),
            named.collect::<Vec<_>>().join(" and ")
        ))
    }

    /// Whether to form a cluster now, or which one to join; `chosen` is the one that it has shown itself to.
    pub fn verdict(&self, chosen: Option<ClusterId>) -> FormationVerdict {
        if let Some(cluster_id) = chosen {
            return self.join(cluster_id);
        }
        let Some(first_seed) = &self.first_seed else { return FormationVerdict::Form };
        if let Some(why) = self.conflict() {
            helenus_storage::sometimes!("a node found seeds of two clusters");
            return FormationVerdict::Refuse { why };
        }
        let found = self.clusters().into_keys().next();
        if found.is_none() && !self.is_first_seed {
            return FormationVerdict::Wait { why: self.why_no_cluster(first_seed) };
        }
        let unheard = self.seeds.iter().filter(|(_, heard)| **heard == Heard::Nothing);
        let unheard: Vec<&str> = unheard.map(|(seed, _)| seed.as_str()).collect();
        if !unheard.is_empty() {
            helenus_storage::sometimes!("a formation waits for seeds");
            let why = format!("asking the other seeds for a cluster: {}", unheard.join(", "));
            return FormationVerdict::Wait { why };
        }
        let Some(cluster_id) = found else { return FormationVerdict::Form };
        if self.is_first_seed {
            helenus_storage::sometimes!("a first seed found its cluster");
        }
        self.join(cluster_id)
    }

    /// For whom a node waits that may not form a cluster.
    fn why_no_cluster(&self, first_seed: &str) -> String {
        let why = match self.seeds.get(first_seed) {
            Some(Heard::Silence) => "does not answer: start it",
            Some(Heard::NoCluster | Heard::Cluster(_)) => "answers, and has not formed one yet",
            Some(Heard::Nothing) | None => "has not answered yet",
        };
        let others: Vec<&str> =
            self.seeds.keys().map(String::as_str).filter(|seed| *seed != first_seed).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            others => format!("; or for another seed that belongs to one: {}", others.join(", ")),
        };
        format!(
            "waiting for a seed that belongs to a cluster: only the first of the list, {first_seed}, forms a new one, and \
             it {why}{others}"
        )
    }

    fn join(&self, cluster_id: ClusterId) -> FormationVerdict {
        let seeds = self.clusters().remove(&cluster_id).unwrap_or_default();
        FormationVerdict::Join { cluster_id, seeds: seeds.into_iter().map(str::to_owned).collect() }
    }

    /// Silence takes nothing back: a seed that once belonged to a cluster is not taken for a seed without one.
    fn note(&mut self, seed: &str, new: Heard) {
        if let Some(heard) = self.seeds.get_mut(seed)
            && (matches!(new, Heard::Cluster(_)) || !matches!(heard, Heard::Cluster(_)))
        {
            *heard = new;
        }
    }
}
