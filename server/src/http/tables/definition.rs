//! Definitions of tables as JSON.

use helenus_cluster::{
    consistency::Consistency,
    table::{Compaction, Definition, Replication},
};
use serde_json::{Map, Value, json};

use crate::http::problem::{Kind, Problem};

const REPLICATION: &str = "replication";
const READ_CONSISTENCY: &str = "default_read_consistency";
const WRITE_CONSISTENCY: &str = "default_write_consistency";
const TTL: &str = "default_ttl";
const GRACE: &str = "tombstone_grace";
const COMPACTION: &str = "compaction";
const COMPRESSION: &str = "compression";
const SPECULATIVE_RETRY: &str = "speculative_retry";
const FIELDS: [&str; 8] = [
    REPLICATION,
    READ_CONSISTENCY,
    WRITE_CONSISTENCY,
    TTL,
    GRACE,
    COMPACTION,
    SPECULATIVE_RETRY,
    COMPRESSION,
];

/// Reads a definition. What is left out has its default, `replication` the one given here.
///
/// # Errors
/// 400 naming the field, 501 for what this build lacks.
pub(super) fn parse(
    body: &Map<String, Value>,
    replication: Option<Replication>,
) -> Result<Definition, Problem> {
    if let Some(unknown) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let detail = format!("a table has no `{}`; it has {}", unknown.escape_debug(), FIELDS.join(", "));
        return Err(Problem::bad_field(unknown, detail));
    }
    let replication = match body.get(REPLICATION) {
        Some(value) => parse_replication(value)?,
        None => replication.unwrap_or(Replication::Simple { factor: 1 }),
    };
    let mut definition = Definition::replicated(replication);
    if let Some(value) = body.get(READ_CONSISTENCY) {
        definition.default_read_consistency = parse_level(READ_CONSISTENCY, value)?;
    }
    if let Some(value) = body.get(WRITE_CONSISTENCY) {
        definition.default_write_consistency = parse_level(WRITE_CONSISTENCY, value)?;
    }
    if let Some(value) = body.get(TTL) {
        definition.default_ttl_seconds = parse_number(TTL, TTL, value)?;
    }
    if let Some(value) = body.get(GRACE) {
        definition.tombstone_grace_seconds = parse_number(GRACE, GRACE, value)?;
    }
    if let Some(value) = body.get(COMPACTION) {
        definition.compaction = parse_compaction(value)?;
    }
    if let Some(value) = body.get(SPECULATIVE_RETRY) {
        let text = value.as_str().ok_or_else(|| bad(SPECULATIVE_RETRY, "it is a text, such as p99"))?;
        definition.speculative_retry =
            text.parse().map_err(|error| bad(SPECULATIVE_RETRY, &format!("{error}")))?;
    }
    match body.get(COMPRESSION).map(Value::as_str) {
        None | Some(Some("lz4")) => Ok(definition),
        Some(Some(other)) => {
            let detail =
                format!("this build compresses every table with lz4, not `{}`", other.escape_debug());
            Err(Problem::new(Kind::NotImplemented, detail).about(COMPRESSION))
        }
        Some(None) => Err(Problem::bad_field(COMPRESSION, "`compression` is a text")),
    }
}

/// A definition with all its fields.
pub(super) fn shown(definition: &Definition) -> Map<String, Value> {
    let compaction = match &definition.compaction {
        Compaction::Unified { scaling_parameters, target_sstable_bytes } => json!({
            "class": "unified", "scaling_parameters": scaling_parameters, "target_sstable_size": target_sstable_bytes
        }),
        Compaction::TimeWindow { window_seconds } => {
            json!({ "class": "time_window", "window": window_seconds })
        }
    };
    let values = [
        shown_replication(&definition.replication),
        definition.default_read_consistency.to_string().into(),
        definition.default_write_consistency.to_string().into(),
        definition.default_ttl_seconds.into(),
        definition.tombstone_grace_seconds.into(),
        compaction,
        definition.speculative_retry.to_string().into(),
        "lz4".into(),
    ];
    FIELDS.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

/// How many replicas, and where.
pub(in crate::http) fn shown_replication(replication: &Replication) -> Value {
    match replication {
        Replication::Simple { factor } => json!({ "class": "simple", "factor": factor }),
        Replication::NetworkTopology { factors } => {
            let mut shown = Map::new();
            shown.insert("class".to_owned(), "network_topology".into());
            shown.extend(factors.iter().map(|(datacenter, factor)| (datacenter.clone(), (*factor).into())));
            Value::Object(shown)
        }
    }
}

fn parse_replication(value: &Value) -> Result<Replication, Problem> {
    let (class, mut fields) = classed(REPLICATION, value)?;
    match class.as_str() {
        "simple" => {
            let factor = fields.remove("factor");
            let factor = factor.ok_or_else(|| bad(REPLICATION, "class simple takes a `factor`"))?;
            nothing_else(REPLICATION, &fields)?;
            Ok(Replication::Simple { factor: parse_number(REPLICATION, "factor", &factor)? })
        }
        "network_topology" => {
            let factors = fields
                .iter()
                .map(|(datacenter, factor)| {
                    Ok((datacenter.clone(), parse_number(REPLICATION, datacenter, factor)?))
                })
                .collect::<Result<_, Problem>>()?;
            Ok(Replication::NetworkTopology { factors })
        }
        _ => Err(bad(REPLICATION, "`class` is simple or network_topology")),
    }
}

fn parse_compaction(value: &Value) -> Result<Compaction, Problem> {
    let (class, mut fields) = classed(COMPACTION, value)?;
    let compaction = match class.as_str() {
        "unified" => {
            let Compaction::Unified { mut scaling_parameters, mut target_sstable_bytes } =
                Compaction::default()
            else {
                unreachable!("the default strategy is the unified one")
            };
            if let Some(value) = fields.remove("scaling_parameters") {
                let text = value.as_str().ok_or_else(|| bad(COMPACTION, "`scaling_parameters` is a text"))?;
                text.clone_into(&mut scaling_parameters);
            }
            if let Some(value) = fields.remove("target_sstable_size") {
                let bytes = value.as_u64();
                target_sstable_bytes =
                    bytes.ok_or_else(|| bad(COMPACTION, "`target_sstable_size` is a number of bytes"))?;
            }
            Compaction::Unified { scaling_parameters, target_sstable_bytes }
        }
        "time_window" => {
            let window_seconds = match fields.remove("window") {
                Some(value) => parse_number(COMPACTION, "window", &value)?,
                None => 24 * 60 * 60,
            };
            Compaction::TimeWindow { window_seconds }
        }
        _ => return Err(bad(COMPACTION, "`class` is unified or time_window")),
    };
    nothing_else(COMPACTION, &fields)?;
    Ok(compaction)
}

/// The class of an object, and its other fields.
fn classed(field: &str, value: &Value) -> Result<(String, Map<String, Value>), Problem> {
    let mut fields =
        value.as_object().cloned().ok_or_else(|| bad(field, "it is an object with a `class`"))?;
    let class = fields.remove("class");
    let class =
        class.as_ref().and_then(Value::as_str).ok_or_else(|| bad(field, "it has a `class`, a text"))?;
    Ok((class.to_owned(), fields))
}

fn nothing_else(field: &str, left: &Map<String, Value>) -> Result<(), Problem> {
    match left.keys().next() {
        None => Ok(()),
        Some(name) => Err(bad(field, &format!("its class has no `{}`", name.escape_debug()))),
    }
}

fn parse_level(field: &str, value: &Value) -> Result<Consistency, Problem> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(bad(field, "a level is a text, such as quorum")),
    };
    text.parse().map_err(|error| Problem::new(Kind::InvalidConsistency, format!("{error}")).about(field))
}

fn parse_number(field: &str, name: &str, value: &Value) -> Result<u32, Problem> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let name = name.escape_debug();
    number.ok_or_else(|| bad(field, &format!("`{name}` is a whole number from 0 to {}", u32::MAX)))
}

fn bad(field: &str, detail: &str) -> Problem {
    Problem::bad_field(field, format!("{field}: {detail}"))
}
