//! One file for the whole cluster: `address=datacenter:rack` per node, as Cassandra's cassandra-topology.properties.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Locality,
    properties::{self, LineError, Property},
};

/// Name of the line that counts for all addresses that have none.
const DEFAULT: &str = "default";

/// Where nodes stand, by address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyFile {
    by_address: BTreeMap<IpAddr, Locality>,
    default: Option<Locality>,
}

impl PropertyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Every line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut file = Self::default();
        let mut errors = Vec::new();
        for property in properties::lines(text) {
            errors.extend(property.and_then(|property| file.take(&property)).err());
        }
        if errors.is_empty() { Ok(file) } else { Err(errors) }
    }

    fn take(&mut self, property: &Property) -> Result<(), LineError> {
        let (datacenter, rack) = property.value.split_once(':').ok_or_else(|| {
            property.error(format!("`{}` is not datacenter:rack", property.value.escape_debug()))
        })?;
        let locality = Locality::new(datacenter.trim(), rack.trim()).map_err(|what| property.error(what))?;
        let before = if property.key == DEFAULT {
            self.default.replace(locality)
        } else {
            let address: IpAddr = property.key.parse().map_err(|_| {
                let key = property.key.escape_debug();
                property.error(format!("`{key}` is neither an IP address nor `{DEFAULT}`"))
            })?;
            self.by_address.insert(address.to_canonical(), locality)
        };
        match before {
            None => Ok(()),
            Some(_) => Err(property.error(format!("`{}` has a line already", property.key))),
        }
    }

    /// Where the node with this address stands.
    pub fn locality(&self, address: IpAddr) -> Option<&Locality> {
        self.by_address.get(&address.to_canonical()).or(self.default.as_ref())
    }
}
