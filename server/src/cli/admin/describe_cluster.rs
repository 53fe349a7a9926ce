//! `helenus admin describe-cluster`: the shape of Cassandra's `nodetool describecluster`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::output;

/// The answer of `/admin/v1/describe-cluster`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    cluster_name: String,
    cluster_id: Option<String>,
    partitioner: String,
    snitch: String,
    dynamic_snitch: bool,
    schema_versions: Vec<Version>,
    releases: Vec<Version>,
    unreachable: Vec<String>,
    unknown: Vec<String>,
    members: Counts,
    datacenters: Vec<Place>,
    tables: Vec<Table>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: Option<String>,
    members: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    live: u64,
    unreachable: u64,
    unknown: u64,
    joining: u64,
}

#[derive(Debug, Deserialize)]
struct Place {
    name: String,
    members: u64,
    down: u64,
    unknown: u64,
    #[serde(default)]
    racks: Vec<Place>,
}

#[derive(Debug, Deserialize)]
struct Table {
    name: String,
    replication: Map<String, Value>,
}

/// One block per subject.
pub(super) fn render(cluster: &Cluster) -> String {
    let mut lines = vec![
        "Cluster Information:".to_owned(),
        format!("    Name: {}", cluster.cluster_name),
        format!("    Id: {}", cluster.cluster_id.as_deref().unwrap_or("none yet")),
        format!("    Snitch: {}", cluster.snitch),
        format!("    Dynamic Snitch: {}", if cluster.dynamic_snitch { "enabled" } else { "disabled" }),
        format!("    Partitioner: {}", cluster.partitioner),
        "    Schema versions:".to_owned(),
    ];
    lines.extend(cluster.schema_versions.iter().map(of_version));
    if !cluster.unreachable.is_empty() {
        lines.push(listed("UNREACHABLE", &cluster.unreachable));
    }
    if !cluster.unknown.is_empty() {
        // Of a node that is drained, which hears of nobody.
        lines.push(listed("UNKNOWN", &cluster.unknown));
    }
    lines.push("    Releases:".to_owned());
    lines.extend(cluster.releases.iter().map(of_version));
    let Counts { live, unreachable, unknown, joining } = cluster.members;
    lines.push(format!(
        "\nStats for all nodes:\n    Live: {live}\n    Joining: {joining}\n    Unreachable: {unreachable}"
    ));
    if unknown > 0 {
        lines.push(format!("    Unknown: {unknown}"));
    }
    lines.push("\nData Centers:".to_owned());
    for datacenter in &cluster.datacenters {
        lines.push(format!("    {}", of_place(datacenter)));
        lines.extend(datacenter.racks.iter().map(|rack| format!("        {}", of_place(rack))));
    }
    lines.push("\nTables:".to_owned());
    lines.extend(cluster.tables.iter().map(of_table));
    lines.join("\n")
}

fn of_version(version: &Version) -> String {
    listed(version.version.as_deref().unwrap_or("not said yet"), &version.members)
}

/// As many addresses a line as fit into 80 columns.
fn listed(name: &str, addresses: &[String]) -> String {
    const INDENT: usize = 12;
    let mut text = format!("        {name}: [");
    let mut column = text.len();
    for (index, address) in addresses.iter().enumerate() {
        let separator = if index + 1 == addresses.len() { "]" } else { "," };
        if index > 0 && column + 1 + address.len() + separator.len() > output::WIDTH {
            text = format!("{text}\n{:INDENT$}", "");
            column = INDENT;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text = text + address + separator;
        column += address.len() + separator.len();
    }
    text
}

fn of_place(place: &Place) -> String {
    let unknown = if place.unknown > 0 { format!(" #Unknown: {}", place.unknown) } else { String::new() };
    format!("{} #Nodes: {} #Down: {}{unknown}", place.name, place.members, place.down)
}

fn of_table(table: &Table) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let class = table.replication.get("class").map(text).unwrap_or_default();
    let factors = table.replication.iter().filter(|(name, _)| *name != "class");
    let factors: Vec<String> = factors.map(|(name, factor)| format!("{name}={}", text(factor))).collect();
    let replication = format!(" -> Replication class: {class} {{{}}}", factors.join(", "));
    let room = output::WIDTH.saturating_sub(4 + replication.chars().count()).max(20);
    format!("    {}{replication}", output::shortened(&table.name, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fill_lines_of_80_columns() {
        let addresses: Vec<String> = (10..40).map(|n| format!("127.0.0.{n}:7171")).collect();
        let text = listed("UNREACHABLE", &addresses);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= 80), "{text}");
        assert!(
            lines[0].starts_with("        UNREACHABLE: [127.0.0.10:7171, ") && text.ends_with(":7171]"),
            "{text}"
        );
        assert_eq!(text.matches(":7171").count(), 30);
        assert!(lines[1].starts_with("            127."), "{text}");
    }
}
