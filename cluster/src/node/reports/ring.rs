//! All tokens in order, and whose they are.

use serde::Serialize;

use super::{
    source::Source,
    status::{self, MemberStatus},
};
use crate::{node_id::HostId, placement::Strategy};

/// The ring as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RingReport {
    /// The table whose replicas count as owned; without one, each range is its owner's alone.
    pub table: Option<String>,
    /// All members, those included that are on the way to own ranges.
    pub members: Vec<MemberStatus>,
    /// All tokens in ring order; each ends the range of its owner.
    pub tokens: Vec<OwnedToken>,
}

/// A token and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnedToken {
    /// The token, as text: not all programs read whole numbers of 64 bits.
    pub token: String,
    /// The member.
    pub host_id: HostId,
}

/// What the node knows now; `None` if it knows no such table.
pub(super) fn of(source: &Source, table: Option<&str>) -> Option<RingReport> {
    let picture = source.cluster.picture();
    let owned = match table {
        Some(table) => {
            Strategy::from(&picture.table(table)?.definition.replication).ownership(picture.ring())
        }
        None => picture.ring().shares(),
    };
    let entries = picture.ring().entries().iter();
    Some(RingReport {
        table: table.map(ToOwned::to_owned),
        members: status::members(source, &picture, &owned),
        tokens: entries
            .map(|entry| OwnedToken { token: entry.token.to_string(), host_id: entry.host_id })
            .collect(),
    })
}
