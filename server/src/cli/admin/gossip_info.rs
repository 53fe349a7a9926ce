//! `helenus admin gossip-info`: the shape of Cassandra's `nodetool gossipinfo`.

use serde::Deserialize;

/// The answer of `/admin/v1/gossip-info`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Gossip {
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    host_id: String,
    address: String,
    datacenter: String,
    rack: String,
    state: String,
    tokens: u64,
    generation: u64,
    heartbeat: u64,
    described: u64,
    facts: Vec<Fact>,
}

#[derive(Debug, Deserialize)]
struct Fact {
    name: String,
    version: u64,
    value: String,
}

/// A block per member: `NAME:version:value`. What the ring is made of has one version.
pub(super) fn render(gossip: &Gossip) -> String {
    let mut members: Vec<&Member> = gossip.members.iter().collect();
    members.sort_by_key(|member| (&member.address, &member.host_id));
    members.into_iter().map(of_member).collect::<Vec<_>>().join("\n")
}

fn of_member(member: &Member) -> String {
    let described = member.described;
    let description = [
        ("STATUS", member.state.clone()),
        ("DC", member.datacenter.clone()),
        ("RACK", member.rack.clone()),
        ("HOST_ID", member.host_id.clone()),
        ("TOKENS", format!("<{} of them>", member.tokens)),
    ];
    let description = description.map(|(name, value)| format!("  {name}:{described}:{value}"));
    let facts = member.facts.iter().map(|fact| {
        let name = fact.name.to_uppercase().replace('-', "_");
        format!("  {name}:{}:{}", fact.version, fact.value)
    });
    let counters = [
        member.address.clone(),
        format!("  generation:{}", member.generation),
        format!("  heartbeat:{}", member.heartbeat),
    ];
    counters.into_iter().chain(description).chain(facts).collect::<Vec<_>>().join("\n")
}
