//! Whether two requests at given levels meet in a replica: W + R > N, with datacenters.
//!
//! Two sets of replicas, each as its level allows, can avoid each other exactly if there is room for both: in all
//! datacenters together, and in each one of which both levels require some.

use super::block_for::{BlockFor, Operation};
use crate::{consistency::Consistency, error::RequestError, table::Replication};

/// When two requests meet in a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlap {
    /// Wherever they are coordinated: each of these sums of replicas is more than there are.
    Always(Vec<Sum>),
    /// Only if one datacenter coordinates both: each of these sums is more than there are.
    Within(Vec<Sum>),
    /// They need not meet: this sum is not more than there are.
    Never(Sum),
}

/// Replicas that two requests require in one place, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Where; anywhere if `None`.
    pub datacenter: Option<String>,
    /// Replicas that the first one requires.
    pub first: u32,
    /// Replicas that the second one requires.
    pub second: u32,
    /// Replicas that there are.
    pub replicas: u32,
}

impl Sum {
    /// Whether the two must meet.
    pub fn meets(&self) -> bool {
        self.first.saturating_add(self.second) > self.replicas
    }
}

/// When requests at these levels meet in a replica. A write at level `any` may be acknowledged by a hint alone, which is
/// no replica.
///
/// # Errors
/// As [`BlockFor::of`], of a level that no datacenter of the table can use.
pub fn overlap(
    (first, first_level): (Operation, Consistency),
    (second, second_level): (Operation, Consistency),
    replication: &Replication,
) -> Result<Overlap, RequestError> {
    let datacenters: Vec<&str> = match replication {
        Replication::Simple { .. } => vec![""],
        Replication::NetworkTopology { factors } => {
            factors.iter().filter(|(_, factor)| **factor > 0).map(|(name, _)| name.as_str()).collect()
        }
    };
    let (mut within, mut across) = (Vec::new(), Vec::new());
    for one in &datacenters {
        for other in &datacenters {
            let first = BlockFor::of(first, first_level, replication, one)?;
            let second = BlockFor::of(second, second_level, replication, other)?;
            let sum = best_sum(&first, &second, replication);
            if one == other { &mut within } else { &mut across }.push(sum);
        }
    }
    let lacking = |sums: &[Sum]| sums.iter().find(|sum| !sum.meets()).cloned();
    within.dedup();
    Ok(match (lacking(&within), lacking(&across)) {
        (Some(sum), _) => Overlap::Never(sum),
        (None, Some(_)) => Overlap::Within(within),
        (None, None) => Overlap::Always(within),
    })
}

/// The sum that makes them meet, if there is one, else that of all replicas.
fn best_sum(first: &BlockFor, second: &BlockFor, replication: &Replication) -> Sum {
    let of = |level: &BlockFor| if level.level() == Consistency::Any { 0 } else { level.required() };
    let anywhere =
        Sum { datacenter: None, first: of(first), second: of(second), replicas: replication.factor() };
    let Replication::NetworkTopology { factors } = replication else { return anywhere };
    let both = first.parts().iter().filter_map(|part| {
        let datacenter = part.datacenter.clone()?;
        let other = second.parts().iter().find(|other| other.datacenter == part.datacenter)?;
        let replicas = factors.get(&datacenter).copied().unwrap_or_default();
        Some(Sum { datacenter: Some(datacenter), first: part.required, second: other.required, replicas })
    });
    both.chain([anywhere.clone()]).find(Sum::meets).unwrap_or(anywhere)
}
