//! How far a member is.

use crate::membership::Member;

/// From near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// The node itself.
    Here,
    /// In its rack.
    Rack,
    /// In another rack of its datacenter.
    Datacenter,
    /// Anywhere else.
    Elsewhere,
}

/// How far `other` is from `own`.
pub fn distance(own: &Member, other: &Member) -> Distance {
    if own.host_id == other.host_id {
        Distance::Here
    } else if own.datacenter != other.datacenter {
        Distance::Elsewhere
    } else if own.rack != other.rack {
        Distance::Datacenter
    } else {
        Distance::Rack
    }
}
