//! Which tokens a new node has: it asks the seeds who is there before it shows itself.
//!
//! ```text
//!   new node        the first of its seeds, by address, that belong to the cluster it is about to join (`Formation`)
//!   ───────> an exchange that says nothing
//!   <─────── not your turn                       somebody else chooses, and is not listed yet: ask again
//!   <─────── all members                         and the turn, until the node is listed or its connection ends, for
//!                                                10 s at most
//!   chooses, shows itself, joins
//! ```
//!
//! Tokens are for ever, so two nodes that choose at once, neither knowing of the other, spoil the ring for good. One
//! seed gives out turns: who comes first chooses first, and each chooses with all those before it in sight, however many
//! start at the same instant. Nodes that ask different seeds, since one of them does not reach the first, or whose turn ran
//! out, since they were paused in the midst of it, may still overlap; then the shares are as uneven as one of the choices is
//! unaware, and no key is in danger. Rejected: an announcement of tokens that may still change (every proof about joining
//! leans on tokens that do not); spreading a plan for all nodes (nobody knows how many there will be).
//!
//! The node that forms the cluster draws its tokens. Every other has none until a seed belongs to a cluster, however long
//! that takes and however often it starts meanwhile: tokens that it drew because its seeds were silent would be uneven for
//! ever, and it can do nothing with them before.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{
    StartError,
    calls::{self, Known, unexpected},
    identity::{LocalIdentity, random_tokens},
    peers::Peers,
    randomness::stream,
    transport::{CallError, Destination, Transport},
};
use crate::{
    membership::{Exchange, Formation, Member},
    message::{Header, Message, Request, Response, TrafficClass},
    node_id::{ClusterId, HostId},
    placement::allocate,
    settings::Settings,
    time::WallClock,
};

/// How long one seed is waited for at the start.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait before a seed is asked again for the turn.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// For how long a turn holds.
const TURN: Duration = Duration::from_secs(10);

/// What the settings say of the tokens of a new node.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    datacenter: String,
    rack: String,
    /// Replication factor in its datacenter for which the shares are to be even.
    factor: u32,
    count: usize,
    seed: u64,
}

impl Wish {
    /// Its random choices come from `seed`.
    pub(super) fn of(settings: &Settings, seed: u64) -> Self {
        Self {
            datacenter: settings.datacenter.clone(),
            rack: settings.rack.clone(),
            factor: settings.allocate_tokens_for.unwrap_or(1),
            count: settings.num_tokens.max(1),
            seed,
        }
    }

    /// The tokens of a node that forms a cluster.
    pub(super) fn alone(&self) -> Vec<i64> {
        random_tokens(self.count, self.seed)
    }

    /// The tokens of a node that joins these members. Of those that are gone the tombstones list the tokens still.
    fn among(&self, known: &[Member]) -> Vec<i64> {
        let is_beside = |member: &&Member| member.datacenter == self.datacenter && !member.state.is_gone();
        let members: Vec<&Member> = known.iter().filter(is_beside).collect();
        let mut random = stream(self.seed, "allocated tokens");
        let tokens = allocate(&members, &self.rack, self.factor, self.count, &mut random);
        tokens.into_iter().map(|token| token.0).collect()
    }
}

/// Has the node choose its tokens, durably, once the seed at an address gives it the turn: that of another node lasts for
/// some seconds at most.
///
/// # Errors
/// When the seed does not answer, or does not belong to the cluster any more, and when the choice could not be saved. Nothing
/// has changed.
pub(super) async fn choose(
    peers: &Peers,
    wish: Wish,
    cluster_id: ClusterId,
    address: &str,
) -> Result<(), CallError> {
    loop {
        match calls::members(peers, cluster_id, address).await? {
            Known::Members(members) => {
                let chosen = peers.cluster.choose_tokens(move || wish.among(&members)).await;
                return chosen.map_err(|error| calls::not_saved(&error));
            }
            Known::NotYet(why) => {
                let why = format!("it waits for its turn to choose tokens: {address} says that {why}");
                peers.cluster.wait_for(why);
                sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// Asks the seeds of a node that belongs to no cluster yet, once, whether it can join theirs; those that are silent say
/// nothing against it.
///
/// # Errors
/// [`StartError::Identity`] for seeds of two clusters, and for a token that another member has.
pub(super) async fn check_seeds(
    settings: &Settings,
    identity: &LocalIdentity,
    transport: &dyn Transport,
    clock: &dyn WallClock,
) -> Result<(), StartError> {
    if identity.cluster_id().is_some() {
        return Ok(());
    }
    let asking = Asking { settings, identity, transport, clock };
    let Some((address, cluster_id)) = asking.cluster().await? else { return Ok(()) };
    if settings.initial_tokens.is_empty() {
        return Ok(());
    }
    // It names the cluster, and so asks for no turn.
    let question = Exchange { cluster_id: Some(cluster_id), ..Exchange::nothing() };
    match asking.call(address, Request::Exchange(question)).await {
        Ok(Response::Exchange(known)) if known.cluster_id == Some(cluster_id) => {
            // Nobody would list the node, and it would wait to be for ever.
            taken(identity, &known.members).map_or(Ok(()), |why| Err(StartError::Identity(why)))
        }
        _ => Ok(()),
    }
}

/// Why nobody will list this node, if one of its tokens is another member's.
pub(super) fn taken(identity: &LocalIdentity, known: &[Member]) -> Option<String> {
    let is_rival = |member: &&Member| member.host_id != identity.host_id() && !member.state.is_gone();
    known.iter().filter(is_rival).find_map(|member| {
        let token = identity.tokens().iter().find(|token| member.tokens.contains(token))?;
        Some(format!(
            "the token {token} of this node is that of host {} at {} already: name another in the settings, and start \
             with an empty data directory",
            member.host_id, member.address
        ))
    })
}

/// A node that has yet to start.
struct Asking<'a> {
    settings: &'a Settings,
    identity: &'a LocalIdentity,
    transport: &'a dyn Transport,
    clock: &'a dyn WallClock,
}

impl Asking<'_> {
    /// The first seed that belongs to a cluster, and that cluster, of all seeds, which are asked at once.
    async fn cluster(&self) -> Result<Option<(&str, ClusterId)>, StartError> {
        let Settings { seeds, advertise, .. } = self.settings;
        let others = seeds.iter().filter(|seed| *seed != advertise);
        let said = join_all(others.map(async |seed| {
            let answer = self.call(seed, Request::Shadow).await;
            let cluster_id = answer.and_then(|answer| match answer {
                Response::Shadow { cluster_id } => Ok(cluster_id),
                other => Err(unexpected(other)),
            });
            (seed.as_str(), cluster_id.ok().flatten())
        }))
        .await;
        let mut formation = Formation::new(advertise, seeds);
        for (seed, cluster_id) in &said {
            formation.on_answer(seed, *cluster_id);
        }
        if let Some(why) = formation.conflict() {
            return Err(StartError::Identity(why));
        }
        Ok(said.into_iter().find_map(|(seed, cluster_id)| Some((seed, cluster_id?))))
    }

    async fn call(&self, address: &str, body: Request) -> Result<Response, CallError> {
        let to = Destination { host_id: None, address: address.to_owned() };
        let deadline = Instant::now() + CALL_TIMEOUT;
        let request = Message { header: self.header(), body };
        self.transport.call(&to, request, deadline).await.map(|answer| answer.body)
    }

    fn header(&self) -> Header {
        Header {
            sender: self.identity.host_id(),
            generation: self.identity.generation(),
            target: None,
            ring_version: 0,
            schema_version: 0,
            class: TrafficClass::Control,
            remaining: CALL_TIMEOUT,
            timestamp: self.clock.now(),
            client_request: None,
            steps: Vec::new(),
        }
    }
}

/// Whether an exchange is the question of a node that chooses its tokens, and not of one that has them.
pub(super) fn is_question(theirs: &Exchange) -> bool {
    theirs.cluster_id.is_none() && theirs.members.is_empty()
}

/// Whose turn it is to choose tokens, as a seed gives them out.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Option<(HostId, Instant)>>);

impl Turns {
    /// Takes the turn, or says whose it is. The turn of the one before is over when it is listed, or has taken too long:
    /// to ask again does not prolong it, for a node that can never save its choice asks for ever.
    pub(super) fn take(&self, host_id: HostId, is_listed: impl Fn(HostId) -> bool) -> Result<(), HostId> {
        let now = Instant::now();
        let mut turn = self.0.lock();
        if let Some((holder, end)) = *turn
            && now < end
            && !is_listed(holder)
        {
            return if holder == host_id { Ok(()) } else { Err(holder) };
        }
        *turn = Some((host_id, now + TURN));
        Ok(())
    }

    /// Takes the turn from a node whose connection has ended: most likely it has died, or did not start after all.
    pub(super) fn end(&self, host_id: HostId) {
        let mut turn = self.0.lock();
        if turn.is_some_and(|(holder, _)| holder == host_id) {
            *turn = None;
        }
    }
}
