//! What a merge changed, and what it has to say to the operator.

use std::fmt;

use super::member::Flaw;
use crate::{
    node_id::{ClusterId, HostId},
    table::{FactFlaw, Replication},
};

/// What an exchange taught. Everything but the notes must be durable before it is acted upon: before the ring is used,
/// and before an answer is sent that lists a new member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The cluster this node now belongs to.
    pub cluster_id: Option<ClusterId>,
    /// Members that are new or described anew; this node itself if it had to outbid a claim about it.
    pub members: Vec<HostId>,
    /// Names of tables that are new or defined anew.
    pub tables: Vec<String>,
    /// Where somebody else may run under this node's host id: newer news of it names this address, and it is not this
    /// node's. Hearsay proves nothing; a call does.
    pub rival: Option<String>,
    /// For the log.
    pub notes: Vec<Note>,
    /// Notes beyond [`Changes::MAX_NOTES`].
    pub suppressed: usize,
}

impl Changes {
    /// Notes of one merge at most: an exchange full of damage must not flood the log.
    pub const MAX_NOTES: usize = 32;

    /// Whether there is anything to make durable.
    pub fn is_news(&self) -> bool {
        self.cluster_id.is_some() || !self.members.is_empty() || !self.tables.is_empty()
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.notes.len() < Self::MAX_NOTES {
            self.notes.push(note);
        } else {
            self.suppressed += 1;
        }
    }
}

/// Something that an operator may want to know. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The exchange belongs to another cluster; nothing of it was taken.
    OtherCluster {
        /// The cluster of this node.
        ours: ClusterId,
        /// The cluster of the sender.
        theirs: ClusterId,
    },
    /// A description of a member was not believed.
    MemberIgnored {
        /// The member.
        about: HostId,
        /// Why.
        flaw: Flaw,
    },
    /// A definition of a table was not believed.
    TableIgnored {
        /// Why.
        flaw: FactFlaw,
    },
    /// Another definition of a table won over the one this node knew. That somebody changed the table is
    /// one reason; that two sides of a partition defined it is another, and the only one for another replication.
    TableRedefined {
        /// The table.
        name: String,
        /// The replication that was known and the one that holds, if they differ.
        replication: Option<Box<(Replication, Replication)>>,
    },
    /// A normal member says that it is joining; it is kept as normal, so that the ring does not shrink.
    SteppedBack {
        /// The member.
        about: HostId,
    },
    /// A member was removed from the cluster by an operator.
    Removed {
        /// The member.
        about: HostId,
    },
    /// A joining member was silent for long, and is none until it says that it joins anew: then from the beginning.
    Evicted {
        /// The member.
        about: HostId,
    },
    /// Others hold a description of this node that it did not give out last; it has outbid it.
    OwnDescriptionDisputed,
    /// This node's settings want another replication factor than the cluster was formed with, which holds.
    FactorDiffers {
        /// In the settings.
        configured: u32,
        /// In the cluster.
        actual: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { ours, theirs } => {
                write!(f, "ignored an exchange of cluster {theirs}, this is cluster {ours}")
            }
            Self::MemberIgnored { about, flaw } => write!(f, "ignored a description of host {about}: {flaw}"),
            Self::TableIgnored { flaw } => write!(f, "ignored the definition of a table: {flaw}"),
            Self::TableRedefined { name, replication: None } => {
                write!(f, "table `{name}` has a later definition than the one known here, which holds")
            }
            Self::TableRedefined { name, replication: Some(replication) } => {
                let (known, holds) = &**replication;
                write!(
                    f,
                    "table `{name}` was created twice, with replication {known} as known here, and elsewhere with {holds}, \
                     which holds; what was written by the former may not be found before it is written again"
                )
            }
            Self::SteppedBack { about } => {
                write!(f, "host {about} says it is joining but had joined; it stays in the ring")
            }
            Self::Removed { about } => write!(f, "host {about} was removed from the cluster"),
            Self::Evicted { about } => {
                write!(
                    f,
                    "host {about} was silent for too long while it joined: its join is over, and begins anew when it is back"
                )
            }
            Self::OwnDescriptionDisputed => {
                f.write_str("others knew a different description of this node; sent them a newer one")
            }
            Self::FactorDiffers { configured, actual } => write!(
                f,
                "default_replication_factor is {configured} in the settings but the cluster was formed with {actual}, \
                 which holds"
            ),
        }
    }
}
