//! Datacenter and rack read off the address: 10.*datacenter*.*rack*.node.

use std::net::IpAddr;

use super::Locality;

/// Where the node with this address stands: Cassandra's RackInferringSnitch.
///
/// # Errors
/// When the address is not one of IPv4, whose parts these are.
pub fn locality(address: IpAddr) -> Result<Locality, String> {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [_, datacenter, rack, _] = address.octets();
            Locality::new(&datacenter.to_string(), &rack.to_string())
        }
        IpAddr::V6(address) => {
            Err(format!("datacenter and rack are parts of an IPv4 address, and {address} is not one"))
        }
    }
}
