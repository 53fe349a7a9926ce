//! How many replicas a level requires, and where.

use crate::{consistency::Consistency, counted::counted, error::RequestError, table::Replication};

/// What is asked of the replicas: some levels are for one of the two only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read.
    Read,
    /// A plain write.
    Write,
}

/// What a level requires of the replicas of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFor {
    pub(super) level: Consistency,
    pub(super) parts: Vec<Part>,
}

/// Some of the replicas that must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose answers count; of replicas anywhere if `None`.
    pub datacenter: Option<String>,
    /// How many.
    pub required: u32,
}

impl BlockFor {
    /// What a level requires of the natural replicas, for a coordinator in the datacenter `local`. It follows from the
    /// factors and not from the nodes present: a cluster that is too small cannot meet the level, instead of meeting it
    /// with fewer copies.
    ///
    /// # Errors
    /// [`RequestError::InvalidConsistency`] for a level that requires more than the factor or does not go with the
    /// operation or the datacenter, [`RequestError::UnsupportedConsistency`] for one that this build lacks.
    pub fn of(
        operation: Operation,
        level: Consistency,
        replication: &Replication,
        local: &str,
    ) -> Result<Self, RequestError> {
        use Consistency::*;
        match (level, operation) {
            (Any, Operation::Read) => {
                return Err(invalid(level, "level any is for writes only: a hint cannot be read".to_owned()));
            }
            (Serial | LocalSerial, Operation::Write) => {
                return Err(invalid(level, format!("level {level} is for reads and compare-and-set only")));
            }
            (Serial | LocalSerial, Operation::Read) => {
                return Err(RequestError::UnsupportedConsistency(level));
            }
            _ => {}
        }
        let parts: Vec<Part> = match (level, replication) {
            (LocalOne | LocalQuorum, Replication::NetworkTopology { factors }) => {
                let factor = factors.get(local).copied().unwrap_or_default();
                if factor == 0 {
                    let detail =
                        format!("level {level} requires replicas in datacenter {local}: there are none");
                    return Err(invalid(level, detail));
                }
                let required = if level == LocalOne { 1 } else { majority(factor) };
                vec![Part { datacenter: Some(local.to_owned()), required }]
            }
            (EachQuorum, Replication::NetworkTopology { factors }) => {
                let part = |(name, factor): (&String, &u32)| Part {
                    datacenter: Some(name.clone()),
                    required: majority(*factor),
                };
                factors.iter().filter(|(_, factor)| **factor > 0).map(part).collect()
            }
            _ => vec![Part { datacenter: None, required: anywhere(level, replication.factor())? }],
        };
        if parts.is_empty() {
            return Err(invalid(level, format!("level {level} requires no replica: the table has none")));
        }
        Ok(Self { level, parts })
    }

    /// As much, and the acknowledgement of one more for each of these pending replicas, given by their datacenters. Level
    /// `any` promises nothing about reads, so it does not wait for them.
    #[must_use]
    pub fn with_pending<'a>(mut self, datacenters: impl IntoIterator<Item = &'a str>) -> Self {
        if self.level != Consistency::Any {
            for datacenter in datacenters {
                if let Some(part) = self.parts.iter_mut().find(|part| part.counts(datacenter)) {
                    part.required = part.required.saturating_add(1);
                }
            }
        }
        self
    }

    /// The level.
    pub fn level(&self) -> Consistency {
        self.level
    }

    /// Replicas that must answer, in all places together.
    pub fn required(&self) -> u32 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.required))
    }

    /// Replicas that must answer, by where they stand: of each datacenter at most one part speaks.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    /// Whether answers from this datacenter count.
    pub fn counts(&self, datacenter: &str) -> bool {
        self.datacenter.as_deref().is_none_or(|counted| counted == datacenter)
    }
}

/// Replicas that a level requires of `factor` that may stand anywhere. To a table that does not tell datacenters apart,
/// all of them are one.
fn anywhere(level: Consistency, factor: u32) -> Result<u32, RequestError> {
    let required = match level {
        Consistency::Any | Consistency::One | Consistency::LocalOne => 1,
        Consistency::Two => 2,
        Consistency::Three => 3,
        Consistency::Quorum | Consistency::LocalQuorum | Consistency::EachQuorum => majority(factor),
        Consistency::All => factor,
        Consistency::Count(count) => count,
        Consistency::Serial | Consistency::LocalSerial => {
            return Err(RequestError::UnsupportedConsistency(level));
        }
    };
    if required == 0 {
        let detail = format!("level {level} requires no replica at replication factor {factor}");
        return Err(invalid(level, detail));
    }
    if required > factor {
        let detail = format!(
            "level {level} requires {}, more than the replication factor {factor}",
            counted(required, "replica")
        );
        return Err(invalid(level, detail));
    }
    Ok(required)
}

fn majority(factor: u32) -> u32 {
    factor / 2 + 1
}

fn invalid(level: Consistency, detail: String) -> RequestError {
    RequestError::InvalidConsistency { level, detail }
}
