//! Snitches: where a node stands, and whom to ask first.
//!
//! A node learns its own datacenter and rack from one of these, and gossip tells the others; nobody looks up where
//! another one stands. So all nodes place replicas by the same facts, even while their files differ.
//!
//! ```text
//!   kind                        own datacenter and rack                        order of replicas
//!   settings (the default)      node.datacenter, node.rack                     nearest first
//!   simple                      datacenter1, rack1                             as on the ring
//!   property-file               line of its address in a file of all nodes     nearest first
//!   gossiping-property-file     dc= and rack= in a file of its own             nearest first
//!   rack-inferring              second and third part of its IPv4 address      nearest first
//!   ec2                         region and zone from the metadata service      nearest first
//! ```
//!
//! `settings` is Apache Cassandra's GossipingPropertyFileSnitch, the one its operators are told to use, with the node's
//! own settings for a file. Nearest first means: this node, its rack, its datacenter, the rest. The [`dynamic`] snitch
//! stands on top of any and asks a replica later that has been slow.
//!
//! A node keeps the datacenter and rack that it joined with: its replicas lie where they put them. A start with others
//! is refused, and a file that changes while it runs changes nothing but the log.
//!
//! Rejected: believing a property file about *other* nodes, as Cassandra's does. Two nodes with different files would
//! place replicas differently; here the difference is a warning.
//!
//! All of it is pure. Files, and the metadata service, are read by whoever runs the node.
//!
//! Reading order: [`proximity`], [`properties`], [`property_file`], [`gossiping`], [`rack_inferring`], [`ec2`],
//! [`simple`], [`dynamic`].

pub mod dynamic;
pub mod ec2;
pub mod gossiping;
pub mod properties;
pub mod property_file;
pub mod proximity;
pub mod rack_inferring;
pub mod simple;

pub use dynamic::DynamicSnitch;
pub use properties::LineError;
pub use property_file::PropertyFile;

use std::fmt;

/// Longest name of a datacenter or rack, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locality {
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack.
    pub rack: String,
}

impl Locality {
    /// These two names.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(datacenter: &str, rack: &str) -> Result<Self, String> {
        for (what, name) in [("datacenter", datacenter), ("rack", rack)] {
            if name.is_empty() {
                return Err(format!("the {what} has no name"));
            }
            if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                return Err(format!(
                    "the name of the {what} is longer than {MAX_NAME_BYTES} bytes or has control characters"
                ));
            }
        }
        Ok(Self { datacenter: datacenter.to_owned(), rack: rack.to_owned() })
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datacenter `{}`, rack `{}`", self.datacenter, self.rack)
    }
}

/// What a node is told of the order in which it asks replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which kind of snitch it is, for people.
    pub name: &'static str,
    /// Nearest first; else as on the ring.
    pub nearest_first: bool,
    /// Whether, and how, replicas that have been slow are asked later.
    pub dynamic: Option<dynamic::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { name: "settings", nearest_first: true, dynamic: Some(dynamic::Settings::default()) }
    }
}
