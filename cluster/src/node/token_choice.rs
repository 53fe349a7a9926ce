//! Which tokens a new node has: it asks the seeds who is there before it shows itself.
//!
//! The question is an exchange in which the node says nothing, neither of itself nor of others. Without an answer in time it
//! keeps the tokens that it has drawn: a node that forms the cluster has nobody to ask, and nodes that start all at once
//! may not find each other yet. Add nodes one at a time for an even ring.

use std::time::Duration;

use helenus_storage::Engine;
use tokio::time::Instant;

use super::{
    StartError,
    identity::LocalIdentity,
    randomness::stream,
    transport::{Destination, Transport},
};
use crate::{
    membership::{Exchange, Member},
    message::{Header, Message, Request, Response, TrafficClass},
    placement::allocate,
    settings::Settings,
    time::WallClock,
};

/// How long all seeds together are waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Chooses the tokens of a node that starts for the first time, if the settings want it.
pub(super) async fn choose(
    settings: &Settings,
    identity: &LocalIdentity,
    engine: &Engine,
    transport: &dyn Transport,
    clock: &dyn WallClock,
    seed: u64,
) -> Result<(), StartError> {
    let Some(factor) = settings.allocate_tokens_for else { return Ok(()) };
    if !identity.is_new() || !settings.initial_tokens.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    for address in settings.seeds.iter().filter(|seed| **seed != settings.advertise) {
        let to = Destination { host_id: None, address: address.clone() };
        let question = question(identity, clock, deadline.saturating_duration_since(Instant::now()));
        let Ok(answer) = transport.call(&to, question, deadline).await else { continue };
        let Response::Exchange(known) = answer.body else { continue };
        if known.cluster_id.is_none() {
            continue;
        }
        let is_near = |member: &&Member| member.datacenter == settings.datacenter;
        let members: Vec<&Member> = known.members.iter().filter(is_near).collect();
        let mut random = stream(seed, "allocated tokens");
        let tokens = allocate(&members, &settings.rack, factor, settings.num_tokens.max(1), &mut random);
        tracing::info!(members = members.len(), "chose tokens that share the keys evenly");
        return identity.choose_tokens(engine, tokens.into_iter().map(|token| token.0).collect()).await;
    }
    tracing::info!("no seed told of a cluster: the node keeps the tokens that it has drawn");
    Ok(())
}

fn question(identity: &LocalIdentity, clock: &dyn WallClock, remaining: Duration) -> Message<Request> {
    let header = Header {
        sender: identity.host_id(),
        generation: identity.generation(),
        target: None,
        ring_version: 0,
        schema_version: 0,
        class: TrafficClass::Control,
        remaining,
        timestamp: clock.now(),
        trace: None,
    };
    let nothing =
        Exchange { cluster_id: None, members: Vec::new(), tables: Vec::new(), has_user_records: false };
    Message { header, body: Request::Exchange(nothing) }
}
