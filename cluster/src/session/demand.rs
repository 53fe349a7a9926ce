//! What a read must have heard before it may answer a session.

use super::version::Version;
use crate::{quorum::Part, time::Timestamp};

/// What a session demands of a read of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: the session has not met the key.
    Nothing,
    /// The key is listed.
    AtLeast {
        /// The answer is this version or a newer one.
        version: Version,
        /// One that only the bytes of its value tell from it needs to have met, in one of its places, these.
        held: Vec<Part>,
        /// What is not newer may have been deleted and forgotten.
        forgettable: Timestamp,
    },
    /// The key may have folded into the floor.
    Overlap {
        /// A newer answer is new enough.
        timestamp: Timestamp,
        /// Any other needs to have met, in one of its places, each of these.
        held: Vec<Vec<Part>>,
    },
}

/// What a read has heard so far.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Of the newest version of all answers, whether it counts or not.
    pub newest: Option<Version>,
    /// Whether that version counts: a tombstone past its grace does not.
    pub counts: bool,
    /// The datacenters of the key's replicas that have not answered, one for each.
    pub unheard: &'a [&'a str],
}

impl Demand {
    /// Whether the newest version of all answers may be answered.
    pub fn is_met(&self, heard: &Heard<'_>) -> bool {
        match self {
            Self::Nothing => true,
            Self::AtLeast { version, held, forgettable } => {
                let is_new_enough = |newest: Version| {
                    newest.is_as_new_as(version).unwrap_or_else(|| meets(held, heard.unheard))
                };
                let is_forgotten =
                    || !heard.counts && heard.unheard.is_empty() && version.timestamp <= *forgettable;
                heard.newest.is_some_and(is_new_enough) || is_forgotten()
            }
            Self::Overlap { timestamp, held } => {
                heard.newest.is_some_and(|newest| newest.timestamp > *timestamp)
                    || held.iter().all(|parts| meets(parts, heard.unheard))
            }
        }
    }
}

/// Whether so few replicas are unheard that, of those who hold it, one must have been heard.
fn meets(parts: &[Part], unheard: &[&str]) -> bool {
    parts.iter().any(|part| {
        let unheard = unheard.iter().filter(|datacenter| part.counts(datacenter)).count();
        unheard < part.required as usize
    })
}
