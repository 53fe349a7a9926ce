//! Looks at the file of a snitch for changes, which are told to the log and move nobody.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use helenus_cluster::{
    node::{ClusterStatus, MemberStatus},
    snitch::{LineError, Locality, PropertyFile, gossiping},
};
use tokio::time::{MissedTickBehavior, interval};

use super::{ip, read, wrong_lines};
use crate::config::SnitchKind;

/// The file of a snitch, and what is known of it.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    /// This node's address in a file of all nodes; none in a file of its own.
    address: Option<IpAddr>,
    own: Locality,
    /// What was read last, or why nothing was.
    seen: Result<String, String>,
}

impl Watch {
    /// The file of the node that is reached at `advertise` and stands at `own`; none for a kind of snitch without a file.
    ///
    /// # Errors
    /// When the address is a name and the file one of all nodes, or the file cannot be read.
    pub fn new(
        kind: SnitchKind,
        file: PathBuf,
        advertise: &str,
        own: Locality,
    ) -> anyhow::Result<Option<Self>> {
        let address = match kind {
            SnitchKind::PropertyFile => Some(ip(advertise)?),
            SnitchKind::GossipingPropertyFile => None,
            _ => return Ok(None),
        };
        let seen = Ok(read(&file)?);
        Ok(Some(Self { file, address, own, seen }))
    }

    /// Looks every `period`, for ever; whoever spawned it ends it.
    pub async fn run(mut self, period: Duration, status: impl Fn() -> ClusterStatus + Send) {
        let mut interval = interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let file = self.file.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || read(&file)).await else { return };
            let Some(warnings) = self.look(read, &status()) else { continue };
            if warnings.is_empty() {
                let file = self.file.display();
                tracing::info!(%file, "the snitch's file has changed, and says where the nodes stand as they do");
            }
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
    }

    /// What to warn of, if the file has changed.
    pub fn look(&mut self, read: anyhow::Result<String>, status: &ClusterStatus) -> Option<Vec<String>> {
        let read = read.map_err(|error| format!("{error:#}"));
        if read == self.seen {
            return None;
        }
        self.seen = read;
        Some(match &self.seen {
            Ok(text) => self.differences(text, status).unwrap_or_else(|errors| {
                let wrong = wrong_lines(&self.file, &errors).to_string().replace('\n', " ");
                vec![format!("{wrong}; this node stays in {}", self.own)]
            }),
            Err(error) => vec![format!("{error}; this node stays in {}", self.own)],
        })
    }

    /// Where a text says otherwise than the nodes of themselves.
    fn differences(&self, text: &str, status: &ClusterStatus) -> Result<Vec<String>, Vec<LineError>> {
        let Some(address) = self.address else {
            return Ok(self.own_difference(Some(&gossiping::parse(text)?)).into_iter().collect());
        };
        let nodes = PropertyFile::parse(text)?;
        let others = status.members.iter().filter_map(|member| {
            let other = ip(&member.address).ok().filter(|other| *other != address)?;
            self.difference(member, nodes.locality(other)?)
        });
        Ok(self.own_difference(nodes.locality(address)).into_iter().chain(others).collect())
    }

    fn own_difference(&self, said: Option<&Locality>) -> Option<String> {
        let now = said.map_or_else(|| "nowhere".to_owned(), ToString::to_string);
        (said != Some(&self.own)).then(|| {
            format!(
                "{} now says that this node stands in {now}; it stays in {}: a node that moves must leave the cluster and \
                 join anew",
                self.file.display(),
                self.own
            )
        })
    }

    fn difference(&self, member: &MemberStatus, said: &Locality) -> Option<String> {
        let MemberStatus { address, datacenter, rack, .. } = member;
        ((&said.datacenter, &said.rack) != (datacenter, rack)).then(|| {
            format!(
                "{} says that {address} stands in {said}, and it says of itself datacenter `{datacenter}`, rack `{rack}`, \
                 which counts",
                self.file.display()
            )
        })
    }
}
