//! Which tokens a new node has: it asks the seeds who is there before it shows itself.
//!
//! ```text
//!   new node        all seeds, then the first of its list that belongs to a cluster
//!   ───────> which cluster is yours?
//!   <─────── its id                              two ids: the node does not start
//!   ───────> an exchange that says nothing
//!   <─────── not your turn                       somebody else chooses, and is not listed yet: ask again
//!   <─────── all members                         and the turn, until the node is listed or its connection ends, for
//!                                                10 s at most
//!   chooses, starts, joins
//! ```
//!
//! Tokens are for ever, so two nodes that choose at once, neither knowing of the other, spoil the ring for good. One
//! seed gives out turns: who comes first chooses first, and each chooses with all those before it in sight, however many
//! start at the same instant. Nodes that ask different seeds, or whose turn ran out, may still overlap; then the
//! shares are as uneven as one of the choices is unaware, and no key is in danger. Rejected: an announcement of tokens
//! that may still change (every proof about joining leans on tokens that do not); spreading a plan for all nodes (nobody
//! knows how many there will be).
//!
//! Without an answer the node keeps the tokens that it has drawn: at once if it is the first seed, which forms the
//! cluster; after a while of silence otherwise.

use std::time::Duration;

use futures_util::future::join_all;
use helenus_storage::Engine;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{
    StartError, Waits,
    calls::unexpected,
    identity::LocalIdentity,
    randomness::stream,
    transport::{CallError, Destination, Transport},
};
use crate::{
    membership::{Exchange, Formation, Member},
    message::{Header, Message, ReplicaError, Request, Response, TrafficClass},
    node_id::{ClusterId, HostId},
    placement::allocate,
    settings::Settings,
    time::WallClock,
};

/// How long one seed is waited for.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long seeds may be silent, or belong to no cluster.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node waits for its turn: forty nodes that take their time.
const MOST_PATIENCE: Duration = Duration::from_secs(120);
/// Wait before the seeds are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// For how long a turn holds.
const TURN: Duration = Duration::from_secs(10);

/// Chooses the tokens of a node that starts for the first time, if the settings want it; checks them if they name them.
///
/// # Errors
/// [`StartError::Identity`] for a token of the settings that another member has, and for seeds of two clusters if the
/// node belongs to none.
pub(super) async fn choose(
    settings: &Settings,
    identity: &LocalIdentity,
    engine: &Engine,
    transport: &dyn Transport,
    clock: &dyn WallClock,
    waits: &Waits,
    seed: u64,
) -> Result<(), StartError> {
    if identity.cluster_id().is_some() {
        return Ok(());
    }
    let asking = Asking { settings, identity, transport, clock, waits };
    let is_given = !settings.initial_tokens.is_empty();
    if !identity.is_new() || (!is_given && settings.allocate_tokens_for.is_none()) {
        return asking.seeds().await.map(drop);
    }
    let Some(known) = asking.members().await? else {
        tracing::info!("no seed told of a cluster: the node keeps the tokens that it has");
        return Ok(());
    };
    if is_given {
        return check_free(identity, &known);
    }
    let Some(factor) = settings.allocate_tokens_for else { return Ok(()) };
    let members: Vec<&Member> =
        known.iter().filter(|member| member.datacenter == settings.datacenter).collect();
    let mut random = stream(seed, "allocated tokens");
    let tokens = allocate(&members, &settings.rack, factor, settings.num_tokens.max(1), &mut random);
    tracing::info!(members = members.len(), "chose tokens that share the keys evenly");
    identity.choose_tokens(engine, tokens.into_iter().map(|token| token.0).collect()).await
}

/// Nobody would list the node, and it would wait to be for ever.
fn check_free(identity: &LocalIdentity, known: &[Member]) -> Result<(), StartError> {
    taken(identity, known).map_or(Ok(()), |why| Err(StartError::Identity(why)))
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

struct Asking<'a> {
    settings: &'a Settings,
    identity: &'a LocalIdentity,
    transport: &'a dyn Transport,
    clock: &'a dyn WallClock,
    waits: &'a Waits,
}

/// What the seeds have said.
enum Said {
    /// All members of its cluster; it is this node's turn.
    Members(Vec<Member>),
    /// It is another node's turn, and what the seed says of it.
    Wait(String),
    /// Nothing, or that it belongs to no cluster.
    Nothing,
    /// That it does not talk to this node.
    Refused,
}

impl Asking<'_> {
    /// The members of the cluster, once it is this node's turn to know them; `None` if no seed tells of a cluster.
    async fn members(&self) -> Result<Option<Vec<Member>>, StartError> {
        let Settings { seeds, advertise, .. } = self.settings;
        let forms_the_cluster = seeds.first().is_none_or(|first| first == advertise);
        let begun = Instant::now();
        let mut last_word = begun;
        loop {
            match self.ask().await? {
                Said::Members(members) => return Ok(Some(members)),
                Said::Wait(why) => {
                    (self.waits)(format!("it waits for its turn to choose tokens: {why}"));
                    last_word = Instant::now();
                }
                Said::Nothing if forms_the_cluster || last_word.elapsed() >= PATIENCE => return Ok(None),
                Said::Nothing => {
                    let seeds = seeds.iter().filter(|seed| *seed != advertise).cloned().collect::<Vec<_>>();
                    let why = "it waits for a seed that belongs to a cluster, to choose its tokens";
                    (self.waits)(format!("{why}: {}", seeds.join(", ")));
                }
                Said::Refused => return Ok(None),
            }
            if begun.elapsed() >= MOST_PATIENCE {
                return Ok(None);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Asks the first seed that belongs to a cluster, if one does.
    async fn ask(&self) -> Result<Said, StartError> {
        let said = self.seeds().await?;
        let belongs = |said: &Result<Option<ClusterId>, CallError>| matches!(said, Ok(Some(_)));
        if let Some((address, _)) = said.iter().find(|(_, said)| belongs(said)) {
            return Ok(match self.call(address, Request::Exchange(Exchange::nothing())).await {
                Ok(Response::Exchange(known)) if known.cluster_id.is_some() => Said::Members(known.members),
                Ok(Response::Failed(ReplicaError::Overloaded(why))) => {
                    Said::Wait(format!("{address} says that {why}"))
                }
                _ => Said::Nothing,
            });
        }
        let is_refused = said.iter().any(|(_, said)| matches!(said, Err(CallError::Refused(_))));
        Ok(if is_refused { Said::Refused } else { Said::Nothing })
    }

    /// Which clusters the seeds belong to, all asked at once, in the order of the list.
    async fn seeds(&self) -> Result<Vec<(&str, Result<Option<ClusterId>, CallError>)>, StartError> {
        let Settings { seeds, advertise, .. } = self.settings;
        let others = seeds.iter().filter(|seed| *seed != advertise);
        let said = join_all(others.map(async |seed| {
            let answer = self.call(seed, Request::Shadow).await;
            let cluster_id = answer.and_then(|answer| match answer {
                Response::Shadow { cluster_id } => Ok(cluster_id),
                other => Err(unexpected(other)),
            });
            (seed.as_str(), cluster_id)
        }))
        .await;
        let mut formation = Formation::new(advertise, seeds);
        for (seed, said) in &said {
            if let Ok(cluster_id) = said {
                formation.on_answer(seed, *cluster_id);
            }
        }
        formation.conflict().map_or(Ok(said), |why| Err(StartError::Identity(why)))
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

/// Whether an exchange is the question of a node that chooses its tokens.
pub(super) fn is_question(theirs: &Exchange) -> bool {
    theirs.cluster_id.is_none() && theirs.members.is_empty()
}

/// Whose turn it is to choose tokens, as a seed gives them out.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Option<(HostId, Instant)>>);

impl Turns {
    /// Takes the turn, or says whose it is. The turn of the one before is over when it is listed, or has taken too long.
    pub(super) fn take(&self, host_id: HostId, is_listed: impl Fn(HostId) -> bool) -> Result<(), HostId> {
        let now = Instant::now();
        let mut turn = self.0.lock();
        if let Some((holder, end)) = *turn
            && holder != host_id
            && now < end
            && !is_listed(holder)
        {
            return Err(holder);
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
