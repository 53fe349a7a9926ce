//! The ring of a cluster, for clients that go straight to replicas.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::target::get;
use crate::client::{Replication, RingToken, Routes};

/// What a cluster says of where its keys are.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) routes: Routes,
    /// Members that own ranges but have no endpoint here, of all that own some.
    pub(super) without_endpoint: (usize, usize),
}

/// Asks each endpoint who it is, and one of them for the ring.
///
/// # Errors
/// Why keys cannot be routed.
pub(super) fn ask(
    agent: &ureq::Agent,
    endpoints: &[String],
    table: &str,
    replication: &Json,
) -> Result<Asked, String> {
    let status = |endpoint: &String| {
        let answer = get(agent, &format!("{}/admin/v1/status", endpoint.trim_end_matches('/')));
        answer.ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
    };
    let statuses: Vec<Option<Json>> = endpoints.iter().map(status).collect();
    let (first, status) = endpoints
        .iter()
        .zip(&statuses)
        .find_map(|(endpoint, status)| Some((endpoint, status.as_ref()?)))
        .ok_or("no endpoint serves /admin/v1/status")?;
    let partitioner = status["partitioner"].as_str().unwrap_or_default();
    if partitioner != "murmur3" {
        return Err(format!("the partitioner is {partitioner:?}, and only murmur3 is known here"));
    }
    let url = format!("{}/admin/v1/ring?table={table}", first.trim_end_matches('/'));
    let answer = get(agent, &url).map_err(|error| error.to_string())?;
    let ring = tokens(&answer.json()).filter(|ring| !ring.is_empty());
    let ring = ring.ok_or_else(|| format!("{url} has no ring: {}", answer.status))?;
    let replication =
        parse(replication).ok_or_else(|| format!("the table's replication is unknown: {replication}"))?;
    let host_ids: Vec<Option<String>> =
        statuses.iter().map(|status| text(status.as_ref()?, "host_id")).collect();
    let mut is_known: BTreeMap<&str, bool> = BTreeMap::new();
    for entry in &ring {
        is_known.insert(&entry.host_id, host_ids.iter().flatten().any(|known| *known == entry.host_id));
    }
    let without_endpoint = (is_known.values().filter(|&&is_known| !is_known).count(), is_known.len());
    Ok(Asked { routes: Routes::new(&ring, &replication, &host_ids), without_endpoint })
}

fn text(json: &Json, name: &str) -> Option<String> {
    json[name].as_str().map(str::to_owned)
}

/// The tokens of members that own their ranges, in order.
fn tokens(ring: &Json) -> Option<Vec<RingToken>> {
    let mut datacenters = BTreeMap::new();
    for member in ring["members"].as_array()? {
        if member["state"] != "joining" {
            datacenters.insert(member["host_id"].as_str()?, member["datacenter"].as_str()?);
        }
    }
    let mut tokens = Vec::new();
    for entry in ring["tokens"].as_array()? {
        let (token, host_id) = (entry["token"].as_str()?.parse().ok()?, entry["host_id"].as_str()?);
        if let Some(&datacenter) = datacenters.get(host_id) {
            tokens.push(RingToken { token, host_id: host_id.to_owned(), datacenter: datacenter.to_owned() });
        }
    }
    tokens.sort_by_key(|entry: &RingToken| entry.token);
    Some(tokens)
}

/// `{"class": "simple", "factor": 3}`, or the class `network_topology` and a factor for each datacenter.
fn parse(replication: &Json) -> Option<Replication> {
    match replication["class"].as_str()? {
        "simple" => Some(Replication::Simple(usize::try_from(replication["factor"].as_u64()?).ok()?)),
        "network_topology" => {
            let factors = replication.as_object()?.iter();
            let used = factors.filter(|(_, factor)| factor.as_u64().is_some_and(|factor| factor > 0));
            Some(Replication::Datacenters(used.map(|(datacenter, _)| datacenter.clone()).collect()))
        }
        _ => None,
    }
}
