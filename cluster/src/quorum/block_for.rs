//! How many replicas a level requires.

use crate::{consistency::Consistency, error::RequestError};

/// What is asked of the replicas: some levels are for one of the two only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read.
    Read,
    /// A plain write.
    Write,
}

/// Natural replicas that must answer, given the replication factor. It follows from the factor and not from the
/// nodes present: a cluster that is too small cannot meet the level, instead of meeting it with fewer copies.
///
/// # Errors
/// [`RequestError::InvalidConsistency`] for a level that requires more than the factor or does not go with the
/// operation, [`RequestError::UnsupportedConsistency`] for one that this build lacks.
pub fn required(operation: Operation, level: Consistency, factor: u32) -> Result<u32, RequestError> {
    let required = match (level, operation) {
        (Consistency::One, _) => 1,
        (Consistency::Two, _) => 2,
        (Consistency::Three, _) => 3,
        (Consistency::Quorum, _) => factor / 2 + 1,
        (Consistency::All, _) => factor,
        (Consistency::Count(count), _) => count,
        (Consistency::Any, Operation::Read) => {
            return Err(invalid(level, "level any is for writes only: a hint cannot be read".to_owned()));
        }
        (Consistency::Serial | Consistency::LocalSerial, Operation::Write) => {
            return Err(invalid(level, format!("level {level} is for reads and compare-and-set only")));
        }
        (
            Consistency::Any
            | Consistency::LocalOne
            | Consistency::LocalQuorum
            | Consistency::EachQuorum
            | Consistency::Serial
            | Consistency::LocalSerial,
            _,
        ) => return Err(RequestError::UnsupportedConsistency(level)),
    };
    if required == 0 {
        return Err(invalid(
            level,
            format!("level {level} requires no replica at replication factor {factor}"),
        ));
    }
    if required > factor {
        let detail =
            format!("level {level} requires {required} replicas, more than the replication factor {factor}");
        return Err(invalid(level, detail));
    }
    Ok(required)
}

fn invalid(level: Consistency, detail: String) -> RequestError {
    RequestError::InvalidConsistency { level, detail }
}
