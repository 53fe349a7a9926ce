//! How values are written, and the types that settings have besides those of `quantity`.
//!
//! In the file a value has a TOML type; in the environment and after `--set` it is bare text that is read by the
//! type of its setting: `true`, `42`, `a,b` for lists, `key=value,key=value` for tables.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use helenus_cluster::{partitioning::Partitioner, snitch::ec2::Naming};
use helenus_storage::{
    AccessMode, Compression, SyncMode,
    table_options::{BadScaling, Scaling},
};
use serde_json::json;
use uuid::Uuid;

use super::diagnostics::Place;
use crate::telemetry::LogFormat;

/// A value as some source wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// Text of the environment or the command line: its type is that of the setting.
    Text(String),
    /// A TOML string.
    String(String),
    /// A TOML integer that fits.
    Integer(i64),
    /// A TOML float.
    Float(f64),
    /// A TOML array.
    List(Vec<Item>),
    /// A TOML table.
    Table(Vec<(String, Item)>),
    /// Anything else, by the name of its type: no setting has it.
    Other(&'static str),
}

/// A value and the place it was read from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) raw: Raw,
    pub(super) at: Place,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) at: Place,
}

/// A type that settings have.
pub(super) trait Value: Sized {
    /// Reads a value.
    fn read(item: &Item) -> Result<Self, Complaint>;
    /// Writes it in the form that [`Value::read`] takes.
    fn json(&self) -> serde_json::Value;
}

impl Item {
    pub(super) fn complain(&self, what: impl Into<String>) -> Complaint {
        Complaint { what: what.into(), at: self.at.clone() }
    }

    pub(super) fn expected(&self, what: &str) -> Complaint {
        let found = match &self.raw {
            Raw::Text(text) => return self.complain(format!("expected {what}, found `{text}`")),
            Raw::String(_) => "a string",
            Raw::Integer(_) => "an integer",
            Raw::Float(_) => "a float",
            Raw::List(_) => "a list",
            Raw::Table(_) => "a table",
            Raw::Other(name) => name,
        };
        self.complain(format!("expected {what}, found {found}"))
    }

    /// The text of a value that is written as a string.
    pub(super) fn text(&self, expected: &str) -> Result<&str, Complaint> {
        match &self.raw {
            Raw::Text(text) | Raw::String(text) => Ok(text),
            _ => Err(self.expected(expected)),
        }
    }
}

/// A value that the node works out itself when it is written `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// Worked out; the setting's text says how.
    Auto,
    /// As set.
    Fixed(T),
}

impl<T: Value> Value for Auto<T> {
    fn read(item: &Item) -> Result<Self, Complaint> {
        match &item.raw {
            Raw::Text(text) | Raw::String(text) if text == "auto" => Ok(Self::Auto),
            _ => T::read(item).map(Self::Fixed).map_err(|complaint| Complaint {
                what: format!("{} (or \"auto\")", complaint.what),
                at: complaint.at,
            }),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Auto => json!("auto"),
            Self::Fixed(value) => value.json(),
        }
    }
}

/// Reads one of a few words.
fn choose<T: Copy>(item: &Item, choices: &[(&str, T)]) -> Result<T, Complaint> {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let expected = words.join(" or ");
    let text = item.text(&expected)?;
    let chosen = choices.iter().find(|(word, _)| *word == text);
    chosen
        .map(|(_, value)| *value)
        .ok_or_else(|| item.complain(format!("expected {expected}, found `{text}`")))
}

/// Who tells a node its datacenter and rack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnitchKind {
    /// The settings node.datacenter and node.rack.
    Settings,
    /// Nobody: one datacenter, one rack, and replicas in the order of the ring.
    Simple,
    /// A file of the whole cluster.
    PropertyFile,
    /// A file of the node's own.
    GossipingPropertyFile,
    /// The node's address.
    RackInferring,
    /// The metadata service of the instance.
    Ec2,
}

const SNITCH_KINDS: &[(&str, SnitchKind)] = &[
    ("settings", SnitchKind::Settings),
    ("simple", SnitchKind::Simple),
    ("property-file", SnitchKind::PropertyFile),
    ("gossiping-property-file", SnitchKind::GossipingPropertyFile),
    ("rack-inferring", SnitchKind::RackInferring),
    ("ec2", SnitchKind::Ec2),
];

impl SnitchKind {
    /// As it is written in the settings.
    pub fn name(self) -> &'static str {
        SNITCH_KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

impl Value for SnitchKind {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, SNITCH_KINDS)
    }

    fn json(&self) -> serde_json::Value {
        self.name().into()
    }
}

impl Value for Naming {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("standard", Self::Standard), ("legacy", Self::Legacy)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Standard => "standard",
            Self::Legacy => "legacy",
        })
    }
}

/// Something that is done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl Value for Switch {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("on", Self::On), ("off", Self::Off)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl Value for Partitioner {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &Self::ALL.map(|partitioner| (partitioner.name(), partitioner)))
    }

    fn json(&self) -> serde_json::Value {
        json!(self.name())
    }
}

impl Value for LogFormat {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("text", Self::Text), ("json", Self::Json)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Value for SyncMode {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("group", Self::Group), ("batch", Self::Batch), ("periodic", Self::Periodic)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Group => "group",
            Self::Batch => "batch",
            Self::Periodic => "periodic",
        })
    }
}

impl Value for AccessMode {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("mmap", Self::Mmap), ("standard", Self::Standard)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::Mmap => "mmap",
            Self::Standard => "standard",
        })
    }
}

impl Value for Compression {
    fn read(item: &Item) -> Result<Self, Complaint> {
        choose(item, &[("none", Self::None), ("lz4", Self::Lz4)])
    }

    fn json(&self) -> serde_json::Value {
        json!(match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        })
    }
}

impl Value for Scaling {
    fn read(item: &Item) -> Result<Self, Complaint> {
        let text = item.text("scaling parameters like \"T4, L10\"")?;
        text.parse().map_err(|error: BadScaling| item.complain(error.to_string()))
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

impl Value for String {
    fn read(item: &Item) -> Result<Self, Complaint> {
        item.text("a string").map(ToOwned::to_owned)
    }

    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for PathBuf {
    fn read(item: &Item) -> Result<Self, Complaint> {
        item.text("a path, as a string").map(Self::from)
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn read(item: &Item) -> Result<Self, Complaint> {
        const WHAT: &str = "an IP address and a port, such as \"127.0.0.1:7071\"";
        let text = item.text(WHAT)?;
        text.trim().parse().map_err(|_| item.complain(format!("expected {WHAT}, found `{text}`")))
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

/// Not set is written as the empty string.
impl Value for Option<SocketAddr> {
    fn read(item: &Item) -> Result<Self, Complaint> {
        match &item.raw {
            Raw::Text(text) | Raw::String(text) if text.trim().is_empty() => Ok(None),
            _ => SocketAddr::read(item).map(Some),
        }
    }

    fn json(&self) -> serde_json::Value {
        self.as_ref().map_or_else(|| json!(""), Value::json)
    }
}

impl Value for u32 {
    fn read(item: &Item) -> Result<Self, Complaint> {
        const WHAT: &str = "a whole number";
        match &item.raw {
            Raw::Text(text) => text.trim().parse().map_err(|_| item.expected(WHAT)),
            Raw::Integer(number) => Self::try_from(*number).map_err(|_| {
                item.complain(format!("expected {WHAT} between 0 and {}, found {number}", Self::MAX))
            }),
            _ => Err(item.expected(WHAT)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Value for f64 {
    fn read(item: &Item) -> Result<Self, Complaint> {
        const WHAT: &str = "a number";
        match &item.raw {
            Raw::Text(text) => text.trim().parse().map_err(|_| item.expected(WHAT)),
            Raw::Float(number) => Ok(*number),
            Raw::Integer(number) => {
                // Exact for every number a setting of this type may have.
                i32::try_from(*number).map(Self::from).map_err(|_| item.expected(WHAT))
            }
            _ => Err(item.expected(WHAT)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!(self)
    }
}

/// The comma-separated parts of bare text, each with its own span; an empty text has none.
///
/// # Errors
/// Where a part is empty: what should stand there is not to be guessed.
fn parts(text: &str, at: &Place) -> Result<Vec<Item>, Complaint> {
    let mut start = at.span.start;
    let mut items = Vec::new();
    if text.trim().is_empty() {
        return Ok(items);
    }
    for part in text.split(',') {
        if part.trim().is_empty() {
            let what = format!("expected a value on both sides of each comma, found `{text}`");
            return Err(Complaint { what, at: at.clone() });
        }
        let end = start + part.len();
        items.push(Item { raw: Raw::Text(part.to_owned()), at: at.part(start..end) });
        start = end + 1;
    }
    Ok(items)
}

impl<T: Value> Value for Vec<T> {
    fn read(item: &Item) -> Result<Self, Complaint> {
        match &item.raw {
            Raw::Text(text) => parts(text, &item.at)?.iter().map(T::read).collect(),
            Raw::List(items) => items.iter().map(T::read).collect(),
            _ => Err(item.expected("a list")),
        }
    }

    fn json(&self) -> serde_json::Value {
        self.iter().map(T::json).collect()
    }
}

/// What a table of settings is keyed by.
pub(super) trait Key: Ord + Sized {
    /// What it is called.
    const WHAT: &str;
    /// Reads it.
    fn parse(text: &str) -> Option<Self>;
    /// Writes it.
    fn write(&self) -> String;
}

impl Key for Uuid {
    const WHAT: &str = "host id";

    fn parse(text: &str) -> Option<Self> {
        Self::parse_str(text).ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Key for String {
    const WHAT: &str = "name";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl<K: Key, T: Value> Value for BTreeMap<K, T> {
    fn read(item: &Item) -> Result<Self, Complaint> {
        let what = K::WHAT;
        let read_entry = |key: &str, value: &Item| {
            let parsed = K::parse(key.trim());
            let key = parsed
                .ok_or_else(|| value.complain(format!("expected a {what} before it, found `{key}`")))?;
            Ok((key, T::read(value)?))
        };
        match &item.raw {
            Raw::Text(text) => parts(text, &item.at)?
                .iter()
                .map(|entry| {
                    let expected = || entry.expected(&format!("{what}=value"));
                    let Raw::Text(text) = &entry.raw else { return Err(expected()) };
                    let (key, value) = text.split_once('=').ok_or_else(expected)?;
                    let at = entry.at.part(entry.at.span.start + key.len() + 1..entry.at.span.end);
                    read_entry(key, &Item { raw: Raw::Text(value.to_owned()), at })
                })
                .collect(),
            Raw::Table(entries) => entries.iter().map(|(key, value)| read_entry(key, value)).collect(),
            _ => Err(item.expected(&format!("a table of {what} = value"))),
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::Value::Object(self.iter().map(|(key, value)| (key.write(), value.json())).collect())
    }
}
