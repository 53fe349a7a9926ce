//! One datacenter, one rack.

use super::Locality;

/// Where every node stands, in the names that Cassandra's SimpleSnitch uses.
pub fn locality() -> Locality {
    Locality { datacenter: "datacenter1".to_owned(), rack: "rack1".to_owned() }
}
