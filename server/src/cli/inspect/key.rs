//! How keys, values and times are shown.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use helenus_cluster::partitioning::split_storage_key;
use helenus_storage::{Record, RecordKind, Timestamp};
use hyper::HeaderMap;
use serde_json::{Map, Value, json};

use crate::http::envelope;

/// The first moment that RFC 3339 cannot write, the year 10000, in microseconds since 1970.
const END_OF_RFC_3339: u64 = 253_402_300_800_000_000;

/// Longest key or value in a line for people.
const SHOWN_BYTES: usize = 64;

/// Token and key of a storage key; the bytes themselves where it is none, in the tables of the node itself.
pub(super) fn take_apart(storage_key: &Bytes) -> (Option<i64>, Bytes) {
    match split_storage_key(storage_key) {
        Ok(parts) if parts.suffix.is_empty() => (Some(parts.token.0), parts.key),
        _ => (None, storage_key.clone()),
    }
}

/// Text where all of it can be printed, else with escapes; cut if it is long.
pub(super) fn text(bytes: &[u8]) -> String {
    let shown = match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_unprintable) => {
            text[..text.floor_char_boundary(SHOWN_BYTES)].to_owned()
        }
        _ => bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string(),
    };
    if bytes.len() > SHOWN_BYTES { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

/// Whether it could steer a terminal, or change the order or the lines of what is around it (Unicode Standard Annex 9, §2).
fn is_unprintable(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// JSON of the same meaning that can be printed: what cannot is an escape.
pub(super) fn printable(json: &Value) -> String {
    let mut text = String::new();
    for c in json.to_string().chars() {
        if is_unprintable(c) {
            // Only within strings, and none of them needs two escapes.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// `name` with text, or `name_base64`.
pub(super) fn insert(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// The members of a storage key.
pub(super) fn insert_key(object: &mut Map<String, Value>, name: &str, storage_key: &Bytes) {
    let (token, key) = take_apart(storage_key);
    if let Some(token) = token {
        let member = if name == "key" { "token".to_owned() } else { format!("{name}_token") };
        object.insert(member, token.into());
    }
    insert(object, name, &key);
}

/// RFC 3339 in UTC; empty beyond the year 9999.
pub(super) fn rfc_3339(time: Timestamp) -> String {
    if time.0 >= END_OF_RFC_3339 {
        return String::new();
    }
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(time.0)).to_string()
}

/// Microseconds, then the same as a date.
pub(super) fn time(time: Timestamp) -> String {
    format!("{} {}", time.0, rfc_3339(time)).trim_end().to_owned()
}

/// A record for programs.
pub(super) fn record(storage_key: &Bytes, record: &Record) -> Value {
    let mut object = Map::new();
    insert_key(&mut object, "key", storage_key);
    object.insert("timestamp".into(), record.timestamp.0.into());
    let (kind, end) = kind(record);
    object.insert("kind".into(), kind.into());
    if let Some((name, end)) = end {
        object.insert(name.into(), json!(end.0));
    }
    match shown(storage_key, record) {
        None => {}
        Some(Shown::Stored(bytes)) => {
            object.insert("stored_base64".into(), STANDARD.encode(bytes).into());
        }
        Some(Shown::Value(headers, value)) => {
            for (name, text) in &headers {
                let name = name.as_str().replace('-', "_");
                insert(&mut object, &name, text.as_bytes());
            }
            object.insert("value_base64".into(), STANDARD.encode(value).into());
        }
    }
    object.into()
}

/// The value of a record for people, and before it what a client said of it.
pub(super) fn value(storage_key: &Bytes, record: &Record) -> Option<(Vec<(String, String)>, String)> {
    Some(match shown(storage_key, record)? {
        Shown::Stored(bytes) => (Vec::new(), text(&bytes)),
        Shown::Value(headers, value) => {
            let said = headers.iter().map(|(name, said)| (name.to_string(), text(said.as_bytes())));
            (said.collect(), text(&value))
        }
    })
}

/// What of a value is shown.
enum Shown {
    /// A client's, with the headers that describe it.
    Value(HeaderMap, Bytes),
    /// The stored bytes: those of a table of the node itself, or of an envelope that cannot be opened.
    Stored(Bytes),
}

fn shown(storage_key: &Bytes, record: &Record) -> Option<Shown> {
    let stored = record.value()?;
    let is_of_client = split_storage_key(storage_key).is_ok();
    let opened = is_of_client.then(|| envelope::open(stored.clone()));
    Some(match opened {
        Some(Ok((headers, value))) => Shown::Value(headers, value),
        _ => Shown::Stored(stored.clone()),
    })
}

/// The kind of a record, and its end of life if it has one.
pub(super) fn kind(record: &Record) -> (&'static str, Option<(&'static str, Timestamp)>) {
    match record.kind {
        RecordKind::Plain { .. } => ("plain", None),
        RecordKind::Expiring { expires_at, .. } => ("expiring", Some(("expires_at", expires_at))),
        RecordKind::Tombstone { deleted_at } => ("tombstone", Some(("deleted_at", deleted_at))),
        RecordKind::Expired { expired_at } => ("expired", Some(("expired_at", expired_at))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        for c in ['\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{2028}'] {
            let key = format!("a{c}b");
            assert!(text(key.as_bytes()).is_ascii(), "{:?}", text(key.as_bytes()));
            let json = printable(&json!({ "key": key }));
            assert!(json.is_ascii() && !json.contains('\u{7f}'), "{json:?}");
            assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), json!({ "key": key }));
        }
        assert_eq!(text("Größe 鍵".as_bytes()), "Größe 鍵");
        let long = "é".repeat(100);
        assert_eq!(text(long.as_bytes()), format!("{}… (200 bytes)", "é".repeat(32)));
        assert_eq!(text(format!("a{long}").as_bytes()), format!("a{}… (201 bytes)", "é".repeat(31)));
    }
}
