//! What is known of a member, and which facts are too malformed to be known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    node_id::{ClusterId, Generation, HostId},
    table::Table,
    time::{MAX_AHEAD_SECONDS, Timestamp, is_far_future},
};

/// Where a member stands in its life. Only the member itself moves on, and never back; only an operator removes it; and a
/// joining one that is silent for long is evicted, and begins anew.
///
/// Encoded as a number, so that one which a later build adds is passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum MemberState {
    /// Was joining, silent for long, and is no member any more, until it says that it joins anew.
    Evicted,
    /// Announced, owns no read range: writes of its future ranges go to it too.
    Joining,
    /// Owns the ranges of its tokens; writes go to their former owners too, since members that have not heard of it
    /// still read there.
    Settling,
    /// Owns the ranges of its tokens, and every member knows that it does.
    Normal,
    /// A state that this build does not know, by its number. The member keeps its ranges, for a ring does not shrink by
    /// a word that nobody understands; and writes of them go to those who own them without it too ([`crate::placement`]),
    /// as is right for one that is about to leave.
    Other(u8),
    /// Was dead and is no member any more: what is left is its tombstone, kept for ever, so that nothing that was
    /// said of it before can bring it back.
    Removed,
}

impl MemberState {
    /// Whether reads of the ranges of its tokens go to it.
    pub fn owns_ranges(self) -> bool {
        matches!(self, Self::Settling | Self::Normal | Self::Other(_))
    }

    /// Whether it is no member: not written to, not read from, not called.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Evicted | Self::Removed)
    }

    /// Whether it is on the way to become normal.
    pub fn is_arriving(self) -> bool {
        matches!(self, Self::Joining | Self::Settling)
    }
}

impl From<u8> for MemberState {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Joining,
            1 => Self::Settling,
            2 => Self::Normal,
            3 => Self::Removed,
            4 => Self::Evicted,
            other => Self::Other(other),
        }
    }
}

impl From<MemberState> for u8 {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Joining => 0,
            MemberState::Settling => 1,
            MemberState::Normal => 2,
            MemberState::Removed => 3,
            MemberState::Evicted => 4,
            MemberState::Other(number) => number,
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining => f.write_str("joining"),
            Self::Settling => f.write_str("settling"),
            Self::Normal => f.write_str("normal"),
            Self::Removed => f.write_str("removed"),
            Self::Evicted => f.write_str("evicted"),
            Self::Other(number) => write!(f, "state-{number}"),
        }
    }
}

/// What is known of a member. Versions are the member's own: the higher (generation, version) wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub host_id: HostId,
    /// Counts its starts.
    pub generation: Generation,
    /// Counts changes of this description within a generation.
    pub version: u64,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Where it stands in its life.
    pub state: MemberState,
    /// Its tokens, strictly ascending; drawn once, the same for ever.
    pub tokens: Vec<i64>,
}

/// All that a node knows: what a joining node and the members tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The cluster, once the sender belongs to one.
    pub cluster_id: Option<ClusterId>,
    /// All members the sender knows, itself first.
    pub members: Vec<Member>,
    /// All tables the sender knows.
    pub tables: Vec<Table>,
    /// Whether the sender has stored or coordinated a user record, ever.
    pub has_user_records: bool,
}

impl Exchange {
    /// What a node says that has yet to choose a cluster: nothing, so that nobody lists it.
    pub fn nothing() -> Self {
        Self { cluster_id: None, members: Vec::new(), tables: Vec::new(), has_user_records: false }
    }

    /// Whether its sender says that it owns ranges. Such a one was not evicted without knowing it.
    pub(super) fn is_of_owner(&self, sender: HostId) -> bool {
        self.members.iter().any(|member| member.host_id == sender && member.state.owns_ranges())
    }
}

/// Members that a node knows at most.
pub const MAX_MEMBERS: usize = 10_000;
/// Tokens of one member at most.
pub const MAX_TOKENS_PER_MEMBER: usize = 4096;
/// Tokens of all members together at most.
pub const MAX_TOKENS: usize = 1 << 20;
const MAX_ADDRESS_BYTES: usize = 300;
const MAX_NAME_BYTES: usize = 128;

/// Why a fact about a member or table was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// An address that is empty, too long, or has characters that no address has.
    #[error("its address is empty, too long or not printable")]
    Address,
    /// A datacenter or rack that is empty, too long, or not printable.
    #[error("its datacenter or rack is empty, too long or not printable")]
    Name,
    /// No token, too many, or not in strictly ascending order.
    #[error("it has no tokens, more than {MAX_TOKENS_PER_MEMBER}, or not in ascending order")]
    Tokens,
    /// A token of another member.
    #[error("its token {token} belongs to host {owner}")]
    TokenTaken {
        /// The token.
        token: i64,
        /// Who had it first.
        owner: HostId,
    },
    /// Other tokens than the ones known of it.
    #[error("its tokens are not the ones it joined with")]
    TokensChanged,
    /// A start more than a year ahead.
    #[error("it lies more than a year in the future ({seconds} seconds since 1970)")]
    FarFuture {
        /// Seconds since 1970.
        seconds: u64,
    },
    /// A counter that the node cannot have reached since its start.
    #[error("it has a counter that it cannot have reached since its start")]
    Counter,
    /// Facts that are too many, too long, out of order, or not of the member that they are told of.
    #[error("its facts are too many, too long, out of order or another member's")]
    Facts,
    /// More members or tokens than a node keeps.
    #[error("too many members or tokens are known already")]
    TooMany,
    /// A node that belongs to no cluster says that it, or another one, has joined.
    #[error("it comes from a node that belongs to no cluster")]
    Outsider,
}

impl Member {
    /// Checks what can be checked without knowing other members.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn check(&self, now: Timestamp) -> Result<(), Flaw> {
        if !is_printable(&self.address, MAX_ADDRESS_BYTES) {
            return Err(Flaw::Address);
        }
        if !is_printable(&self.datacenter, MAX_NAME_BYTES) || !is_printable(&self.rack, MAX_NAME_BYTES) {
            return Err(Flaw::Name);
        }
        let ascending = self.tokens.is_sorted_by(|lower, higher| lower < higher);
        if self.tokens.is_empty() || self.tokens.len() > MAX_TOKENS_PER_MEMBER || !ascending {
            return Err(Flaw::Tokens);
        }
        check_count(self.version, self.generation, now)
    }

    /// Which of two descriptions of this member is newer. Descriptions of the same version should be equal; if they
    /// are not, all nodes prefer the same one.
    pub(super) fn precedence(&self) -> impl Ord + use<'_> {
        (self.generation, self.version, &self.address, &self.datacenter, &self.rack)
    }

    /// As [`Member::precedence`], with all that can differ between descriptions.
    pub(super) fn rank(&self) -> impl Ord + use<'_> {
        (self.precedence(), self.state, &self.tokens)
    }
}

/// Counts that a node can have reached per second of its life, however short its intervals.
const MAX_COUNTS_PER_SECOND: u64 = 10_000;

/// Fails for a start that lies far ahead, and for what a node that started then cannot have counted: whoever believed it
/// would take all that the member really says for old, until it has counted so far or starts anew. The bound grows with
/// time, faster than anyone counts, so a member that goes on from a claim at the bound is believed.
pub(super) fn check_count(count: u64, generation: Generation, now: Timestamp) -> Result<(), Flaw> {
    let seconds = generation.0 / 1_000_000;
    if is_far_future(seconds, now) {
        return Err(Flaw::FarFuture { seconds });
    }
    let lived = (now.0 / 1_000_000).saturating_sub(seconds).saturating_add(MAX_AHEAD_SECONDS);
    if count > lived.saturating_mul(MAX_COUNTS_PER_SECOND) { Err(Flaw::Counter) } else { Ok(()) }
}

/// These texts reach logs and terminals.
fn is_printable(text: &str, max_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= max_bytes && !text.chars().any(char::is_control)
}
