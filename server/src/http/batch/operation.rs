//! The body of a batch, and what each of its operations asks of the node.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes};
use helenus_cluster::{
    consistency::Consistency,
    node::{Change, ReadRequest, RequestOptions, WriteRequest},
    table::is_table_name,
    time::Timestamp,
};
use hyper::HeaderMap;
use serde::Deserialize;

use crate::{
    http::{
        envelope, key,
        parameters::{MAX_TTL_SECONDS, Parameters},
        problem::{Access, Kind, Problem},
    },
    telemetry,
};

/// Most operations of one batch.
const MAX_OPERATIONS: usize = 1000;
/// Characters of an unknown kind of operation that are said back.
const SHOWN_CHARACTERS: usize = 32;

/// A batch whose shape is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    consistency: Option<Level>,
    operations: Vec<Operation>,
}

/// A level as it may be written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Level {
    Text(String),
    Number(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Put,
    Get,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    op: String,
    table: String,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    ttl: Option<u64>,
    timestamp: Option<u64>,
}

/// An operation as the node is asked for it.
#[derive(Debug)]
pub(super) enum Asked {
    Read(ReadRequest),
    Write(WriteRequest),
}

impl Asked {
    /// Table and key.
    pub(super) fn place(&self) -> (String, Bytes) {
        match self {
            Self::Read(read) => (read.table.clone(), read.key.clone()),
            Self::Write(write) => (write.table.clone(), write.key.clone()),
        }
    }

    /// As metrics count it.
    pub(super) fn operation(&self) -> telemetry::Operation {
        match self {
            Self::Read(_) => telemetry::Operation::Get,
            Self::Write(write) if write.change == Change::Delete => telemetry::Operation::Delete,
            Self::Write(_) => telemetry::Operation::Put,
        }
    }
}

impl Batch {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 naming the place for what is no batch: broken JSON, a wrong type, an unknown field, too many operations.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        // An array would be taken for the fields of an object in their order.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first == b'[') {
            return Err(Problem::bad_field("body", "body: a batch is an object with `operations`"));
        }
        let mut json = serde_json::Deserializer::from_slice(body);
        let batch: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "body" } else { &path };
            Problem::bad_field(field, format!("{field}: {}", error.inner()))
        })?;
        json.end().map_err(|error| Problem::bad_field("body", format!("the body goes on: {error}")))?;
        let count = batch.operations.len();
        if count > MAX_OPERATIONS {
            let detail = format!("a batch may have {MAX_OPERATIONS} operations, this one has {count}");
            return Err(Problem::bad_field("operations", detail));
        }
        batch.level()?;
        Ok(batch)
    }

    fn level(&self) -> Result<Option<Consistency>, Problem> {
        let text = match &self.consistency {
            None => return Ok(None),
            Some(Level::Text(text)) => text.clone(),
            Some(Level::Number(number)) => number.to_string(),
        };
        text.parse()
            .map(Some)
            .map_err(|error| Problem::new(Kind::InvalidConsistency, format!("{error}")).about("consistency"))
    }

    /// The operations in their order, each as it is to be asked for, or why it is refused.
    pub(super) fn checked(self, max_value_bytes: usize) -> impl Iterator<Item = Result<Asked, Problem>> {
        let level = self.level();
        self.operations.into_iter().map(move |operation| operation.checked(level.clone()?, max_value_bytes))
    }
}

impl Operation {
    fn checked(self, consistency: Option<Consistency>, max_value_bytes: usize) -> Result<Asked, Problem> {
        let verb = self.verb()?;
        let access = if verb == Verb::Get { Access::Read } else { Access::Write };
        Parameters { consistency, ..Parameters::default() }.check_level(access)?;
        let options = RequestOptions { consistency, ..RequestOptions::default() };
        if !is_table_name(&self.table) {
            return Err(key::no_such_name());
        }
        self.refuse_what_does_not_apply(verb)?;
        let key = bytes("key", self.key, self.key_base64)?
            .ok_or_else(|| Problem::new(Kind::InvalidKey, "the operation has no key").about("key"))?;
        let key = key::checked(key.into())?;
        if verb == Verb::Get {
            return Ok(Asked::Read(ReadRequest { table: self.table, key, options }));
        }
        let change = match verb {
            Verb::Put => {
                let value = bytes("value", self.value, self.value_base64)?
                    .ok_or_else(|| Problem::bad_field("value", "a put has a `value` or a `value_base64`"))?;
                Change::Put { value: stored(&value, max_value_bytes)?, ttl: time_to_live(self.ttl)? }
            }
            Verb::Delete | Verb::Get => Change::Delete,
        };
        if self.timestamp == Some(0) {
            return Err(Problem::bad_field("timestamp", "`timestamp` is at least 1"));
        }
        let timestamp = self.timestamp.map(Timestamp);
        Ok(Asked::Write(WriteRequest { table: self.table, key, change, options, timestamp }))
    }

    /// A kind that this build lacks is the operation's own 400, as a bad operation is: the others go on.
    fn verb(&self) -> Result<Verb, Problem> {
        match self.op.as_str() {
            "put" => Ok(Verb::Put),
            "get" => Ok(Verb::Get),
            "delete" => Ok(Verb::Delete),
            other => {
                let other: String = other.chars().take(SHOWN_CHARACTERS).collect();
                let detail = format!("`op` is put, get or delete, not `{}`", other.escape_debug());
                Err(Problem::bad_field("op", detail))
            }
        }
    }

    /// A field without effect would only look like one that has it.
    fn refuse_what_does_not_apply(&self, verb: Verb) -> Result<(), Problem> {
        let given = [
            ("value", self.value.is_some(), verb == Verb::Put),
            ("value_base64", self.value_base64.is_some(), verb == Verb::Put),
            ("ttl", self.ttl.is_some(), verb == Verb::Put),
            ("timestamp", self.timestamp.is_some(), verb != Verb::Get),
        ];
        match given.iter().find(|(_, is_given, applies)| *is_given && !applies) {
            None => Ok(()),
            Some((field, ..)) => {
                Err(Problem::bad_field(field, format!("`{field}` does not apply to this operation")))
            }
        }
    }
}

/// What is written as text or as base64.
fn bytes(field: &str, text: Option<String>, encoded: Option<String>) -> Result<Option<Vec<u8>>, Problem> {
    match (text, encoded) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(encoded)) => STANDARD.decode(encoded).map(Some).map_err(|error| {
            let field = format!("{field}_base64");
            Problem::bad_field(&field, format!("`{field}` is not padded base64: {error}"))
        }),
        (Some(_), Some(_)) => {
            Err(Problem::bad_field(field, format!("`{field}` and `{field}_base64` exclude each other")))
        }
    }
}

fn stored(value: &[u8], max_bytes: usize) -> Result<Bytes, Problem> {
    if value.len() > max_bytes {
        let detail = format!("the value has {} bytes and may have {max_bytes}", value.len());
        return Err(Problem::new(Kind::ValueTooLarge, detail).about("value"));
    }
    let mut stored = envelope::begin(&HeaderMap::new(), value.len())?;
    stored.put_slice(value);
    Ok(stored.into())
}

fn time_to_live(seconds: Option<u64>) -> Result<Option<Duration>, Problem> {
    match seconds {
        None => Ok(None),
        Some(seconds @ 1..=MAX_TTL_SECONDS) => Ok(Some(Duration::from_secs(seconds))),
        Some(_) => Err(Problem::bad_field(
            "ttl",
            format!("`ttl` is a number of seconds from 1 to {MAX_TTL_SECONDS}"),
        )),
    }
}
