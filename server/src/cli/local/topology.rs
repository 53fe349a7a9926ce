//! Who listens where.
//!
//! Node i = 1..n listens on 127.0.0.1, ports HTTP base + i and peer base + i. With several datacenters or racks each
//! node has an address of its own, 127.dc.rack.i, and the usual ports, so that a snitch that reads datacenter and
//! rack off the address is right: dc = (i − 1) mod D + 1, rack = ((i − 1) div D) mod R + 1.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::Up;

/// Client port of nodes that have an address of their own.
const HTTP_PORT: u16 = 7071;

/// Peer port of nodes that have an address of their own.
const PEER_PORT: u16 = 7171;

/// Last part of an address of one's own, 127.x.x.254 at most.
const MAX_NODES: u32 = 254;

/// The shape of a cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Number of nodes.
    pub nodes: u32,
    /// Datacenters that they are spread over.
    pub datacenters: u32,
    /// Racks of each.
    pub racks: u32,
    /// Client ports count from here.
    pub http_base: u16,
    /// Peer ports count from here.
    pub peer_base: u16,
}

/// Where a node stands and listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// For clients.
    pub http: SocketAddr,
    /// For other nodes.
    pub peer: SocketAddr,
    /// Name of its datacenter.
    pub datacenter: String,
    /// Name of its rack.
    pub rack: String,
}

impl Topology {
    /// What was asked for, the rest by default.
    pub(super) fn asked(up: &Up) -> Self {
        Self {
            nodes: up.nodes.unwrap_or(3),
            datacenters: up.datacenters.unwrap_or(1),
            racks: up.racks.unwrap_or(1),
            http_base: up.http_base.unwrap_or(7070),
            peer_base: up.peer_base.unwrap_or(7170),
        }
    }

    /// What was asked for and is not so.
    pub(super) fn contradiction(&self, up: &Up) -> Option<String> {
        let asked = [
            ("--nodes", up.nodes, self.nodes),
            ("--datacenters", up.datacenters, self.datacenters),
            ("--racks", up.racks, self.racks),
            ("--http-base", up.http_base.map(u32::from), u32::from(self.http_base)),
            ("--peer-base", up.peer_base.map(u32::from), u32::from(self.peer_base)),
        ];
        asked
            .into_iter()
            .find(|(_, asked, is)| asked.is_some_and(|asked| asked != *is))
            .map(|(name, _, is)| format!("{name} is {is}"))
    }

    /// Which option is given and would change nothing.
    pub(super) fn without_effect(&self, up: &Up) -> Option<String> {
        let bases = [("--http-base", up.http_base, HTTP_PORT), ("--peer-base", up.peer_base, PEER_PORT)];
        let (name, _, port) =
            bases.into_iter().find(|(_, base, _)| base.is_some() && self.has_own_addresses())?;
        Some(format!(
            "{name} has no effect with several datacenters or racks: each node has an address of its own then, \
             127.dc.rack.i, and port {port}"
        ))
    }

    /// Whether nodes have addresses of their own.
    pub(super) fn has_own_addresses(&self) -> bool {
        self.datacenters > 1 || self.racks > 1
    }

    /// Checks that every node has its place and no two have the same.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in
            [("--nodes", self.nodes), ("--datacenters", self.datacenters), ("--racks", self.racks)]
        {
            if !(1..=MAX_NODES).contains(&value) {
                return Err(format!("{name} must be between 1 and {MAX_NODES}, is {value}"));
            }
        }
        if self.has_own_addresses() {
            return Ok(());
        }
        let (http, peer) = (u32::from(self.http_base), u32::from(self.peer_base));
        for (name, base) in [("--http-base", http), ("--peer-base", peer)] {
            if base + self.nodes > u32::from(u16::MAX) {
                return Err(format!("{name} {base}: {} ports after it do not exist", self.nodes));
            }
        }
        if http.abs_diff(peer) < self.nodes {
            return Err(format!(
                "--http-base {http} and --peer-base {peer} are too near: {} nodes need {} ports from each",
                self.nodes, self.nodes
            ));
        }
        Ok(())
    }

    /// The place of node `i`, from 1. Call it on a topology that was checked, with a node that it has.
    pub fn spot(&self, i: u32) -> Spot {
        let index = i.saturating_sub(1);
        let datacenter = index % self.datacenters.max(1) + 1;
        let rack = (index / self.datacenters.max(1)) % self.racks.max(1) + 1;
        let (http, peer) = if self.has_own_addresses() {
            let [dc, rack, node] = [datacenter, rack, i].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
            let ip = [127, dc, rack, node];
            (SocketAddr::from((ip, HTTP_PORT)), SocketAddr::from((ip, PEER_PORT)))
        } else {
            let port = |base: u16| base.saturating_add(u16::try_from(i).unwrap_or(u16::MAX));
            let ip = [127, 0, 0, 1];
            (SocketAddr::from((ip, port(self.http_base))), SocketAddr::from((ip, port(self.peer_base))))
        };
        if self.has_own_addresses() {
            // As the rack-inferring snitch names them.
            return Spot { http, peer, datacenter: datacenter.to_string(), rack: rack.to_string() };
        }
        Spot { http, peer, datacenter: "dc1".to_owned(), rack: "rack1".to_owned() }
    }

    /// Threads for the requests of each node: its share of the machine's processors. With one for each processor in every
    /// node they would only take turns, and every message would wake a thread that finds little to do.
    pub(super) fn request_threads(&self, processors: usize) -> usize {
        (processors / self.nodes.max(1) as usize).max(1)
    }

    /// Replicas of each key by datacenter: three, or as many as there are nodes.
    pub fn replication(&self) -> BTreeMap<String, u32> {
        let mut factors = BTreeMap::new();
        for node in 1..=self.nodes {
            let factor = factors.entry(self.spot(node).datacenter).or_insert(0);
            *factor = 3.min(*factor + 1);
        }
        factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(nodes: u32, datacenters: u32, racks: u32) -> Topology {
        Topology { nodes, datacenters, racks, http_base: 7070, peer_base: 7170 }
    }

    #[test]
    fn nodes_of_one_rack_share_an_address_and_count_their_ports() {
        let spot = topology(3, 1, 1).spot(3);
        assert_eq!(
            (spot.http.to_string(), spot.peer.to_string()),
            ("127.0.0.1:7073".into(), "127.0.0.1:7173".into())
        );
        assert_eq!((spot.datacenter.as_str(), spot.rack.as_str()), ("dc1", "rack1"));
    }

    #[test]
    fn with_datacenters_or_racks_the_address_tells_them() {
        let of = |topology: &Topology, i| topology.spot(i).http.to_string();
        let six = topology(6, 2, 2);
        let addresses: Vec<String> = (1..=6).map(|i| of(&six, i)).collect();
        assert_eq!(
            addresses,
            [
                "127.1.1.1:7071",
                "127.2.1.2:7071",
                "127.1.2.3:7071",
                "127.2.2.4:7071",
                "127.1.1.5:7071",
                "127.2.1.6:7071"
            ]
        );
        assert_eq!((six.spot(4).datacenter.as_str(), six.spot(4).rack.as_str()), ("2", "2"));
        assert_eq!(of(&topology(2, 1, 2), 2), "127.1.2.2:7071");
        assert_eq!(six.spot(1).peer.to_string(), "127.1.1.1:7171");
    }

    #[test]
    fn each_datacenter_holds_three_replicas_or_as_many_as_it_has_nodes() {
        let of = |nodes, datacenters, racks| topology(nodes, datacenters, racks).replication();
        let factors = |factors: &[(&str, u32)]| {
            factors.iter().map(|(name, factor)| ((*name).to_owned(), *factor)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(of(6, 2, 3), factors(&[("1", 3), ("2", 3)]));
        assert_eq!(of(9, 2, 3), factors(&[("1", 3), ("2", 3)]));
        assert_eq!(of(3, 2, 1), factors(&[("1", 2), ("2", 1)]));
        assert_eq!(of(5, 1, 3), factors(&[("1", 3)]));
    }

    #[test]
    fn nodes_share_the_processors_and_each_has_one() {
        let threads = |nodes, processors| topology(nodes, 1, 1).request_threads(processors);
        assert_eq!([threads(1, 8), threads(3, 8), threads(3, 3), threads(3, 2)], [8, 2, 1, 1]);
    }

    #[test]
    fn a_base_is_refused_where_it_would_change_nothing() {
        let bases =
            [Up { http_base: Some(7070), ..Up::default() }, Up { peer_base: Some(7170), ..Up::default() }];
        for up in &bases {
            assert_eq!(topology(3, 1, 1).without_effect(up), None);
            assert!(topology(3, 2, 1).without_effect(up).is_some());
            assert!(topology(3, 1, 2).without_effect(up).is_some());
        }
        assert_eq!(topology(3, 2, 2).without_effect(&Up::default()), None);
    }

    #[test]
    fn no_two_nodes_may_get_the_same_place() {
        assert!(topology(100, 1, 1).check().is_ok());
        let error = topology(101, 1, 1).check().expect_err("7171 would be both");
        assert!(error.contains("too near"), "{error}");
        assert!(topology(101, 2, 1).check().is_ok());
        assert!(topology(255, 2, 1).check().is_err());
        assert!(topology(0, 1, 1).check().is_err());
        assert!(Topology { http_base: 65_534, ..topology(3, 1, 1) }.check().is_err());
    }
}
