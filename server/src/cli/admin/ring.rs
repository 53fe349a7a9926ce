//! `helenus admin ring`: the shape of Cassandra's `nodetool ring`.

use std::{collections::BTreeMap, fmt::Write};

use serde::Deserialize;

use super::{Member, load, status};
use crate::cli::output;

/// The answer of `/admin/v1/ring`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Ring {
    table: Option<String>,
    members: Vec<Member>,
    tokens: Vec<OwnedToken>,
}

#[derive(Debug, Deserialize)]
struct OwnedToken {
    token: String,
    host_id: String,
}

/// One block per datacenter; above its tokens stands the last of them, since a ring has no first one.
pub(super) fn render(ring: &Ring) -> String {
    let members: BTreeMap<&str, &Member> =
        ring.members.iter().map(|member| (member.host_id.as_str(), member)).collect();
    let mut owns: BTreeMap<&str, String> = BTreeMap::new();
    for members in status::by_datacenter(&ring.members).into_values() {
        owns.extend(members.iter().map(|member| member.host_id.as_str()).zip(status::percents(&members)));
    }
    let mut datacenters: BTreeMap<&str, Vec<[String; 7]>> = BTreeMap::new();
    for token in &ring.tokens {
        let Some(member) = members.get(token.host_id.as_str()) else { continue };
        datacenters.entry(&member.datacenter).or_default().push(row(
            member,
            &owns[member.host_id.as_str()],
            &token.token,
        ));
    }
    let mut text = String::new();
    for (datacenter, mut rows) in datacenters {
        let title = format!("Datacenter: {datacenter}");
        let line = "=".repeat(title.chars().count());
        if let Some([.., last]) = rows.last() {
            let mut wrapped: [String; 7] = Default::default();
            wrapped[6].clone_from(last);
            rows.insert(0, wrapped);
        }
        let table = output::table(["Address", "Rack", "Status", "State", "Load", "Owns", "Token"], &rows);
        // Writing to a string cannot fail.
        let _ = write!(text, "{title}\n{line}\n{table}\n\n");
    }
    if ring.tokens.is_empty() {
        text.push_str("No member has tokens yet\n\n");
    }
    text + &output::wrapped(&match &ring.table {
        Some(table) => format!("Owns: share of the data of table {table} that the node holds"),
        None => "Owns: share of all tokens; --table TABLE counts the replicas of a table".to_owned(),
    })
}

fn row(member: &Member, owns: &str, token: &str) -> [String; 7] {
    let mut state = member.state.clone();
    if let Some(first) = state.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    [
        member.address.clone(),
        member.rack.clone(),
        member.up.map_or("?", |up| if up { "Up" } else { "Down" }).to_owned(),
        state,
        load(member.load_bytes),
        owns.to_owned(),
        token.to_owned(),
    ]
}
