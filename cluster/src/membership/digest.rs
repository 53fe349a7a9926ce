//! The words of gossip: what a node has of a member, and what another one lacks of it.

use std::{cmp::Ordering, sync::Arc};

use serde::{Deserialize, Serialize};

use super::member::{Flaw, Member, MemberState, check_count};
use crate::{
    node_id::{ClusterId, Generation, HostId},
    time::Timestamp,
};

/// What a fact is about. A build relays facts with tags that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag(pub u16);

impl Tag {
    /// Bytes on disk, as a little-endian u64.
    pub const LOAD: Self = Self(1);
    /// Hash of the tables that the member knows, as a little-endian u64.
    pub const SCHEMA: Self = Self(2);
    /// Version of its build, as text.
    pub const RELEASE: Self = Self(3);
    /// Whose clocks the member finds far off ([`ClocksOff`](super::clock_watch::ClocksOff)).
    pub const CLOCKS_OFF: Self = Self(4);
}

/// A value of a member, and when among its others it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Counts the facts that the member has said within a generation.
    pub version: u64,
    /// The value.
    pub bytes: Vec<u8>,
}

/// Which life of a host id: a start of its node, or its removal, which no later start undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation {
    /// Whether it was removed.
    pub removed: bool,
    /// Which of its starts; of a removal, one more than the last start that was known.
    pub generation: Generation,
}

/// How much a node knows of a member, without saying what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The member.
    pub host_id: HostId,
    /// Whether it was removed.
    pub removed: bool,
    /// Which of its starts.
    pub generation: Generation,
    /// Intervals that it has lived through in this generation.
    pub heartbeat: u64,
    /// Version of its description.
    pub described: u64,
    /// Version up to which its other facts are known.
    pub told: u64,
}

impl Digest {
    /// That nothing is known of a member.
    pub fn nothing(host_id: HostId) -> Self {
        Self { host_id, removed: false, generation: Generation(0), heartbeat: 0, described: 0, told: 0 }
    }

    /// Which life of the member it is about.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation { removed: self.removed, generation: self.generation }
    }

    /// Whether it stands for a description or fact that `other` does not stand for.
    pub fn exceeds(&self, other: &Self) -> bool {
        match self.incarnation().cmp(&other.incarnation()) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => self.described > other.described || self.told > other.told,
        }
    }

    /// Checks what can be checked without knowing the member.
    ///
    /// # Errors
    /// [`Flaw::FarFuture`], [`Flaw::Counter`].
    pub fn check(&self, now: Timestamp) -> Result<(), Flaw> {
        let highest = self.heartbeat.max(self.described).max(self.told);
        check_count(highest, self.generation, now)
    }
}

/// What one node knows of a member beyond another one's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// How much its receiver will know of the member.
    pub digest: Digest,
    /// What the member says of itself that the ring is made of: taken whole or not at all.
    pub description: Option<Arc<Member>>,
    /// The facts are all that were said after this version, up to the digest's.
    pub after: u64,
    /// The facts, in the order of their versions.
    pub facts: Vec<(Tag, Fact)>,
}

impl Delta {
    /// Facts of one member at most, unknown ones included.
    pub const MAX_FACTS: usize = 64;
    /// Bytes of one fact at most.
    pub const MAX_FACT_BYTES: usize = 1024;

    /// Checks what can be checked without knowing the member, by this node's clock; its description is the view's to check.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn check(&self, now: Timestamp) -> Result<(), Flaw> {
        self.digest.check(now)?;
        let fits = |(_, fact): &(Tag, Fact)| {
            fact.bytes.len() <= Self::MAX_FACT_BYTES
                && (self.after + 1..=self.digest.told).contains(&fact.version)
        };
        let ascending = self.facts.is_sorted_by(|(_, one), (_, next)| one.version < next.version);
        if self.after > self.digest.told
            || self.facts.len() > Self::MAX_FACTS
            || !ascending
            || !self.facts.iter().all(fits)
        {
            return Err(Flaw::Facts);
        }
        match &self.description {
            Some(member) if !self.is_about(member) => Err(Flaw::Facts),
            _ => Ok(()),
        }
    }

    fn is_about(&self, member: &Member) -> bool {
        member.host_id == self.digest.host_id
            && member.generation == self.digest.generation
            && member.version == self.digest.described
            && (member.state == MemberState::Removed) == self.digest.removed
    }

    /// About what it takes on the wire, or a little more.
    pub fn size_bytes(&self) -> usize {
        let description = self.description.as_ref().map_or(0, |member| {
            64 + member.address.len()
                + member.datacenter.len()
                + member.rack.len()
                + TOKEN_BYTES * member.tokens.len()
        });
        let facts = self.facts.iter().map(|(_, fact)| 12 + fact.bytes.len()).sum::<usize>();
        DIGEST_BYTES + 16 + description + facts
    }
}

/// A digest on the wire, at most: counters are encoded by seven bits.
const DIGEST_BYTES: usize = 16 + 1 + 10 + 7 + 10 + 7;
const TOKEN_BYTES: usize = 10;

/// Digests in one message at most. 10,000 members take several messages, so several rounds.
pub const MAX_DIGESTS: usize = 1200;

/// Bytes of the deltas of one message at most; a single description fits, whatever it is.
pub const MAX_DELTA_BYTES: usize = 64 << 10;

/// A part of all host ids: those from `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: HostId,
    /// The last.
    pub to: HostId,
}

impl Span {
    /// One host.
    pub fn of(host_id: HostId) -> Self {
        Self { from: host_id, to: host_id }
    }

    /// All hosts.
    pub fn all() -> Self {
        Self { from: HostId(uuid::Uuid::nil()), to: HostId(uuid::Uuid::max()) }
    }

    /// Whether it contains a host.
    pub fn contains(&self, host_id: HostId) -> bool {
        (self.from..=self.to).contains(&host_id)
    }
}

/// The first message: what its sender knows of the members of a span, so also which of them it does not know; a short
/// one, with a span of its sender alone, is a ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syn {
    /// What the digests are all of.
    pub span: Span,
    /// A digest of each member of the span that the sender knows, and of some others.
    pub digests: Vec<Digest>,
}

/// The second message, its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// How the one that answers stands itself: its answer is a heartbeat.
    pub own: Digest,
    /// What it has of the members of which the other has more: it wants the difference.
    pub wanted: Vec<Digest>,
    /// Of members it has heard younger heartbeats of.
    pub younger: Vec<Digest>,
    /// What the other lacks.
    pub deltas: Vec<Delta>,
}

/// What a node says to another when they gossip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// Compares; answered by an [`Ack`].
    Syn(Syn),
    /// The third message: what an [`Ack`] wanted. Answered by [`GossipAnswer::Taken`].
    Ack2(Vec<Delta>),
    /// Asks the receiver to ping a member; answered by [`GossipAnswer::Probed`].
    Probe(HostId),
}

/// Gossip with the cluster that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipRequest {
    /// The cluster. Facts of another one are not looked at.
    pub cluster_id: ClusterId,
    /// What is said.
    pub gossip: Gossip,
}

/// What a node answers to [`Gossip`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipAnswer {
    /// To [`Gossip::Syn`].
    Ack(Ack),
    /// To [`Gossip::Ack2`].
    Taken,
    /// To [`Gossip::Probe`]: whether the member has answered.
    Probed(bool),
}

/// An answer with the second and third of NTP's four timestamps, by the wall clock of the one that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipReply {
    /// When the request had come, in microseconds.
    pub received_us: u64,
    /// When the answer goes.
    pub answered_us: u64,
    /// The answer.
    pub answer: GossipAnswer,
}
