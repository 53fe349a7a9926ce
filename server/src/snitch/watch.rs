//! Looks at a property file for changes.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use helenus_cluster::{
    node::ClusterStatus,
    snitch::{Locality, PropertyFile},
};
use tokio::time::{MissedTickBehavior, interval};

use super::{ip, read, wrong_lines};

/// A property file, and what is known of it.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    address: IpAddr,
    own: Locality,
    /// What was read last, or why nothing was.
    seen: Result<String, String>,
}

impl Watch {
    /// The file of the node that is reached at `advertise` and stands at `own`.
    ///
    /// # Errors
    /// When the address is a name, or the file cannot be read.
    pub fn new(file: PathBuf, advertise: &str, own: Locality) -> anyhow::Result<Self> {
        let seen = Ok(read(&file)?);
        Ok(Self { file, address: ip(advertise)?, own, seen })
    }

    /// Looks every `period`, for ever; whoever spawned it ends it.
    pub async fn run(mut self, period: Duration, status: impl Fn() -> ClusterStatus + Send) {
        let mut interval = interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let file = self.file.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || read(&file)).await else { return };
            for warning in self.look(read, &status()) {
                tracing::warn!("{warning}");
            }
        }
    }

    /// What to warn of, if the file has changed.
    pub fn look(&mut self, read: anyhow::Result<String>, status: &ClusterStatus) -> Vec<String> {
        let read = read.map_err(|error| format!("{error:#}"));
        if read == self.seen {
            return Vec::new();
        }
        self.seen = read;
        let text = match &self.seen {
            Ok(text) => text,
            Err(error) => return vec![format!("{error}; this node stays in {}", self.own)],
        };
        let nodes = match PropertyFile::parse(text) {
            Ok(nodes) => nodes,
            Err(errors) => {
                let wrong = wrong_lines(&self.file, &errors);
                return vec![format!("{wrong:#}\nthis node stays in {}", self.own)];
            }
        };
        let mut warnings = Vec::new();
        let name = self.file.display();
        if nodes.locality(self.address) != Some(&self.own) {
            let now = nodes.locality(self.address).map_or_else(|| "nowhere".to_owned(), ToString::to_string);
            warnings.push(format!(
                "{name} now says that this node stands in {now}; it stays in {}: a node that moves must leave the \
                 cluster and join anew",
                self.own
            ));
        }
        for member in &status.members {
            let Ok(address) = ip(&member.address) else { continue };
            let Some(said) = nodes.locality(address).filter(|_| address != self.address) else { continue };
            if (&said.datacenter, &said.rack) != (&member.datacenter, &member.rack) {
                warnings.push(format!(
                    "{name} says that {} stands in {said}, and it says of itself datacenter `{}`, rack `{}`, which \
                     counts",
                    member.address, member.datacenter, member.rack
                ));
            }
        }
        warnings
    }
}
