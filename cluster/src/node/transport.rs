//! The network seam: how a node calls another.

use std::{collections::BTreeSet, fmt::Debug, future::pending};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    membership::handshake::Refusal,
    message::{Message, Request, Response},
    node_id::HostId,
};

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The node that must answer; `None` for a seed that was not met yet.
    pub host_id: Option<HostId>,
    /// Address of its peer listener, `host:port`.
    pub address: String,
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection could be made: the request was certainly not delivered.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The connection was lost after the request may have been sent: it may or may not have been done.
    #[error("connection lost: {reason}")]
    Lost {
        /// Why.
        reason: String,
    },
    /// No answer before the deadline: it may or may not have been done.
    #[error("no answer before the deadline")]
    TimedOut,
    /// Too much is queued for this peer: the request was certainly not sent.
    #[error("too much is queued for this peer")]
    Overloaded,
    /// One of the two does not talk to the other.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The node at the address is not the one that was meant.
    #[error("{address} is host {found}, not {expected}")]
    WrongHost {
        /// The address.
        address: String,
        /// Whom we wanted.
        expected: HostId,
        /// Who answered.
        found: HostId,
    },
    /// What arrived could not be decoded.
    #[error("unintelligible answer: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

/// Calls between nodes: TCP in production, a seeded network in the simulation. Both run the codec of
/// `crate::wire`.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Sends a request and waits for its answer, at most until `deadline`. Dropping the future gives up waiting;
    /// the request may still be done.
    fn call(
        &self,
        to: &Destination,
        request: Message<Request>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Message<Response>, CallError>>;

    /// Waits until connections that stood are lost, and says to whom; each loss is told once, and dropping the future
    /// before it ends forgets none. A hint to call those at once, no proof that they are down. A network that cannot
    /// tell, as this default, never does: then the next call finds out.
    fn lost_connections(&self) -> BoxFuture<'static, BTreeSet<HostId>> {
        Box::pin(pending())
    }
}
