//! The calls of membership: a full exchange, a round of gossip, a probe. Each is a future that learns what it is
//! answered and says how it ended; whom to call, and when, is the [`membership_loop`](super::membership_loop)'s.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    peers::Peers,
    token_choice::{self, Wish},
    transport::{CallError, Destination},
};
use crate::{
    membership::{
        Exchange, Gossip, GossipAnswer, GossipRequest, Member,
        clock_watch::Measured,
        digest::{Ack, Delta, Syn},
    },
    message::{Header, Message, ReplicaError, Request, Response, TrafficClass},
    node_id::{ClusterId, Generation, HostId},
    time::Timestamp,
};

/// How long an exchange or a round of gossip may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How a call ended.
pub(super) enum Called {
    /// The question which cluster a node belongs to, and by whom it was answered.
    Shadow { address: String, result: Result<Answerer, CallError> },
    /// The choice of this node's tokens, with the seed that was asked for the members.
    Tokens { address: String, result: Result<(), CallError> },
    /// A full exchange, by whom it was answered, and to which cluster that one belongs.
    Exchange { destination: Destination, result: Result<Answerer, CallError> },
    /// A round of gossip, or a ping; whether all is well or the two are to tell each other everything.
    Gossip { destination: Destination, result: Result<Agreement, CallError> },
    /// A probe: whether anyone reached the member.
    Probe { host_id: HostId, is_reached: bool },
}

/// Who answered an exchange, or the question of a shadow round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answerer {
    /// The node.
    pub(super) host_id: HostId,
    /// Which of its starts.
    pub(super) generation: Generation,
    /// The cluster it belongs to.
    pub(super) cluster_id: Option<ClusterId>,
}

/// What two nodes are after they gossiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Of one mind, or about to be.
    Reached,
    /// They differ in what gossip does not carry.
    Missing,
}

/// Which cluster the node at an address belongs to; it learns nothing of this one.
pub(super) async fn shadow(peers: Arc<Peers>, address: String) -> Called {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let to = Destination { host_id: None, address: address.clone() };
    let answer = peers.call_anyone(&to, TrafficClass::Control, Request::Shadow, deadline, None).await;
    let result = answer.and_then(|Message { header, body }| match body {
        Response::Shadow { cluster_id } => {
            Ok(Answerer { host_id: header.sender, generation: header.generation, cluster_id })
        }
        body => Err(unexpected(body)),
    });
    Called::Shadow { address, result }
}

/// Has the node choose its tokens among the members of the cluster that the seed at an address knows.
pub(super) async fn choose_tokens(
    peers: Arc<Peers>,
    wish: Wish,
    cluster_id: ClusterId,
    address: String,
) -> Called {
    let result = token_choice::choose(&peers, wish, cluster_id, &address).await;
    Called::Tokens { address, result }
}

/// What a seed says of its members to a node that has yet to show itself.
pub(super) enum Known {
    /// All of them.
    Members(Vec<Member>),
    /// Others come first, and why.
    NotYet(String),
}

/// Asks the node at an address for the members of this cluster; it learns nothing of this one.
pub(super) async fn members(peers: &Peers, cluster_id: ClusterId, address: &str) -> Result<Known, CallError> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let to = Destination { host_id: None, address: address.to_owned() };
    let question = Request::Exchange(Exchange::nothing());
    match peers.call(&to, TrafficClass::Control, question, deadline, None).await? {
        Response::Exchange(known) if known.cluster_id == Some(cluster_id) => {
            Ok(Known::Members(known.members))
        }
        Response::Exchange(_) => {
            let reason = format!("it does not belong to cluster {cluster_id} any more");
            Err(CallError::Malformed { reason })
        }
        Response::Failed(ReplicaError::Overloaded(why)) => Ok(Known::NotYet(why)),
        body => Err(unexpected(body)),
    }
}

/// One exchange: what this node knows for what the other knows.
pub(super) async fn exchange(peers: Arc<Peers>, destination: Destination) -> Called {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let request = Request::Exchange(peers.cluster.exchange(peers.identity.chosen_cluster()));
    let sent = peers.clock.now();
    let answer = peers.call_anyone(&destination, TrafficClass::Control, request, deadline, None).await;
    let received = peers.clock.now();
    let result = match answer {
        Err(error) => Err(error),
        Ok(answer) => match answer.body {
            Response::Exchange(theirs) => {
                let sender = answer.header.sender;
                let cluster_id = theirs.cluster_id;
                match peers.cluster.learn(sender, &theirs, received).await {
                    Ok(()) => {
                        compare_clocks(&peers, &answer.header, sent, received);
                        Ok(Answerer { host_id: sender, generation: answer.header.generation, cluster_id })
                    }
                    Err(error) => Err(not_saved(&error)),
                }
            }
            body => Err(unexpected(body)),
        },
    };
    Called::Exchange { destination, result }
}

/// One round of gossip with a member: a first message, its answer, and the third message if that is wanted.
pub(super) async fn gossip(peers: Arc<Peers>, destination: Destination, syn: Syn) -> Called {
    let result = gossip_until(&peers, &destination, syn, Instant::now() + CALL_TIMEOUT).await;
    Called::Gossip { destination, result }
}

/// Whether a member can be reached, by this node or by one of the helpers.
pub(super) async fn probe(
    peers: Arc<Peers>,
    destination: Destination,
    host_id: HostId,
    helpers: Vec<Destination>,
    timeout: Duration,
) -> Called {
    let deadline = Instant::now() + timeout;
    let mut attempts: FuturesUnordered<BoxFuture<'_, bool>> = FuturesUnordered::new();
    attempts.push(Box::pin(ping(&peers, &destination, deadline)));
    for helper in &helpers {
        let request = Gossip::Probe(host_id);
        let asked = ask(&peers, helper, request, deadline);
        attempts.push(Box::pin(async move {
            matches!(asked.await, Ok(Answered { answer: GossipAnswer::Probed(true), .. }))
        }));
    }
    let mut is_reached = false;
    while !is_reached && let Some(reached) = attempts.next().await {
        is_reached = reached;
    }
    drop(attempts);
    Called::Probe { host_id, is_reached }
}

/// Whether a member answers.
pub(super) async fn ping(peers: &Peers, destination: &Destination, deadline: Instant) -> bool {
    gossip_until(peers, destination, peers.cluster.hearsay.ping(), deadline).await.is_ok()
}

/// Which schema a member knows now.
pub(super) async fn schema_version(peers: &Peers, of: &Destination, deadline: Instant) -> Option<u64> {
    let answered = ask(peers, of, Gossip::Syn(peers.cluster.hearsay.ping()), deadline).await;
    answered.ok().map(|answered| answered.header.schema_version)
}

async fn gossip_until(
    peers: &Peers,
    destination: &Destination,
    syn: Syn,
    deadline: Instant,
) -> Result<Agreement, CallError> {
    let answered = match ask(peers, destination, Gossip::Syn(syn), deadline).await {
        Err(Refused::Untied) => return Ok(Agreement::Missing),
        Err(Refused::Call(error)) => return Err(error),
        Ok(answered) => answered,
    };
    let GossipAnswer::Ack(ack) = &answered.answer else {
        return Err(CallError::Malformed { reason: "it answered something else".to_owned() });
    };
    let sender = answered.header.sender;
    peers.cluster.learn_ack(sender, ack, answered.returned).await.map_err(|error| not_saved(&error))?;
    compare_clocks(peers, &answered.header, answered.sent, answered.returned);
    if peers.cluster.is_up(sender) {
        peers.clock.measure(sender, answered.measured);
        if let Some(off) = peers.clock.off(sender) {
            tracing::warn!(host = %sender, skew = off, "the clock of this peer is off");
        }
    }
    let wanted = peers.cluster.hearsay.wanted(&ack.wanted);
    let is_quiet = ack.deltas.is_empty() && wanted.is_empty();
    if !wanted.is_empty() {
        tell(peers, destination, wanted, deadline).await?;
    }
    Ok(agreement(peers, &answered.header, ack, is_quiet))
}

async fn tell(
    peers: &Peers,
    destination: &Destination,
    deltas: Vec<Delta>,
    deadline: Instant,
) -> Result<(), CallError> {
    match ask(peers, destination, Gossip::Ack2(deltas), deadline).await {
        Ok(_) | Err(Refused::Untied) => Ok(()),
        Err(Refused::Call(error)) => Err(error),
    }
}

/// Tables are facts that gossip carries the version of; and where two nodes have no news for each other and see
/// different rings all the same, only telling each other everything can help.
fn agreement(peers: &Peers, header: &Header, ack: &Ack, is_quiet: bool) -> Agreement {
    let picture = peers.cluster.picture();
    let is_same_ring = header.ring_version == picture.ring().version();
    let is_same_schema = header.schema_version == picture.schema_version();
    if is_same_schema && (is_same_ring || !is_quiet || !ack.wanted.is_empty()) {
        Agreement::Reached
    } else {
        Agreement::Missing
    }
}

/// An answer with all that can be learned from its coming.
struct Answered {
    header: Header,
    answer: GossipAnswer,
    sent: Timestamp,
    returned: Timestamp,
    measured: Measured,
}

/// Why gossip was not answered.
enum Refused {
    /// One of the two was removed from the cluster, or superseded, or the other belongs to none yet: only a full exchange
    /// can tell why, or change it.
    Untied,
    /// The call failed.
    Call(CallError),
}

async fn ask(
    peers: &Peers,
    destination: &Destination,
    gossip: Gossip,
    deadline: Instant,
) -> Result<Answered, Refused> {
    let Some(cluster_id) = peers.cluster.picture().view().cluster_id() else {
        let reason = "this node belongs to no cluster".to_owned();
        return Err(Refused::Call(CallError::Malformed { reason }));
    };
    let request = Request::Gossip(GossipRequest { cluster_id, gossip });
    let sent = peers.clock.now();
    let answer = peers.call_anyone(destination, TrafficClass::Control, request, deadline, None).await;
    let answer = answer.map_err(Refused::Call)?;
    let returned = peers.clock.now();
    match answer.body {
        Response::Gossip(reply) => {
            let (came, went) = (Timestamp(reply.received_us), Timestamp(reply.answered_us));
            let measured = Measured::of(sent, came, went, returned);
            Ok(Answered { header: answer.header, answer: reply.answer, sent, returned, measured })
        }
        Response::Failed(ReplicaError::Removed | ReplicaError::NotServing(_)) => Err(Refused::Untied),
        body => Err(Refused::Call(unexpected(body))),
    }
}

/// In one turn with the end of the call, so before the node serves because of it.
fn compare_clocks(peers: &Peers, header: &Header, sent: Timestamp, received: Timestamp) {
    if header.sender != peers.identity.host_id() && peers.cluster.is_up(header.sender) {
        peers.clock.compare(header.sender, header.timestamp, sent, received);
    }
}

pub(super) fn not_saved(error: &ReplicaError) -> CallError {
    CallError::Malformed { reason: format!("what it told was not saved: {error}") }
}

pub(super) fn unexpected(body: Response) -> CallError {
    let reason = match body {
        Response::Failed(error) => error.to_string(),
        _ => "it answered something else".to_owned(),
    };
    CallError::Malformed { reason }
}
