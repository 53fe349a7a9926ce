//! `helenus admin info`: the shape of Cassandra's `nodetool info`.

use serde::Deserialize;

use super::load;

/// The answer of `/admin/v1/info`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    host_id: String,
    address: String,
    version: String,
    readiness: String,
    why_not_ready: Option<String>,
    state: String,
    why: Option<String>,
    generation: u64,
    uptime_seconds: u64,
    load_bytes: u64,
    resident_bytes: Option<u64>,
    requests_in_flight: u64,
    max_requests: u64,
    open_connections: i64,
    datacenter: String,
    rack: String,
    clock: Clock,
    memtable_bytes: u64,
    index_bytes: u64,
    filter_bytes: u64,
    block_cache: Cache,
    tokens: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Clock {
    offset_us: i64,
    skew: Option<String>,
    told_by: Vec<ToldOff>,
}

#[derive(Debug, Deserialize)]
struct ToldOff {
    address: String,
    ahead_seconds: i64,
}

#[derive(Debug, Deserialize)]
struct Cache {
    bytes: u64,
    capacity_bytes: u64,
    hits: u64,
    misses: u64,
}

/// A name and a value a line.
pub(super) fn render(info: &Info, with_tokens: bool) -> String {
    let mut lines: Vec<(&str, String)> = vec![
        ("ID", info.host_id.clone()),
        ("Address", info.address.clone()),
        ("Version", info.version.clone()),
        ("Ready", because(&info.readiness, info.why_not_ready.as_deref())),
        ("State", because(&info.state, info.why.as_deref())),
        ("Load", load(Some(info.load_bytes))),
        ("Generation No", info.generation.to_string()),
        ("Uptime (seconds)", info.uptime_seconds.to_string()),
        ("Resident Memory", load(info.resident_bytes)),
        ("Memtables", load(Some(info.memtable_bytes))),
        ("Indexes, Filters", format!("{}, {}", load(Some(info.index_bytes)), load(Some(info.filter_bytes)))),
        ("Block Cache", cache(&info.block_cache)),
        ("Requests", format!("{} in flight, {} at most", info.requests_in_flight, info.max_requests)),
        ("Connections", format!("{} open", info.open_connections)),
        ("Data Center", info.datacenter.clone()),
        ("Rack", info.rack.clone()),
        ("Clock", format!("{} from the median of the live nodes", super::offset(-info.clock.offset_us))),
    ];
    if let Some(skew) = &info.clock.skew {
        lines.push(("", format!("off, so it coordinates no writes: {skew}")));
    }
    for told in &info.clock.told_by {
        lines.push(("", format!("{:+} s from that of {}, as it says", told.ahead_seconds, told.address)));
    }
    if with_tokens {
        lines.extend(info.tokens.iter().map(|token| ("Token", token.clone())));
    } else {
        lines.push(("Token", format!("({} of them; -T shows all)", info.tokens.len())));
    }
    let lines = lines.into_iter().map(|(name, value)| format!("{name:<16} : {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn because(what: &str, why: Option<&str>) -> String {
    why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn cache(cache: &Cache) -> String {
    let reads = cache.hits + cache.misses;
    let rate =
        if reads == 0 { String::new() } else { format!(", {:.3} hits", cache.hits as f64 / reads as f64) };
    format!("{} of {}, {reads} reads{rate}", load(Some(cache.bytes)), load(Some(cache.capacity_bytes)))
}
