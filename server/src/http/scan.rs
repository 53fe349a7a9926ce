//! `GET /v1/kv/{table}`: a page of a table, in the cluster's order of keys.
//!
//! ```text
//! {"items": [{"key": "k", "value_base64": "dg==", "timestamp": 1, "content_type": "text/plain"}, …], "next": "…" | null}
//! ```
//!
//! A key that is no text is `key_base64` instead. A value that expires has `ttl`, one that is encoded `content_encoding`;
//! with `keys_only` an item is key and timestamp. By `Accept: application/x-ndjson` each item is a line of its own. Either
//! way `Link` names the next page, with the parameters of this one.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use helenus_cluster::{
    node::{ScanOutcome, ScanRequest},
    scan::Bounds,
    time::Timestamp,
};
use helenus_storage::{Record, RecordKind};
use hyper::{
    HeaderMap,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LINK},
};
use serde::Serialize;

use super::{
    Api, envelope, key,
    parameters::{self, Parameters},
    problem::{Access, Kind, Problem},
    reply::{self, Ended, seconds_left},
    session,
};
use crate::telemetry::Operation;

/// Items of a page, unless the client says how many.
const DEFAULT_LIMIT: u32 = 100;

const NDJSON: &str = "application/x-ndjson";

/// `GET`: one page.
pub(super) async fn page(State(api): State<Arc<Api>>, request: Request) -> Response {
    let start = Instant::now();
    let ended = scan(&api, &request.into_parts().0).await.unwrap_or_else(Ended::from);
    reply::conclude(&api, Operation::Scan, start, ended)
}

async fn scan(api: &Api, request: &Parts) -> Result<Ended, Problem> {
    let begun = api.begin_request_with_room(Access::Read)?;
    let (raw_table, _) = key::split(request.uri.path());
    let table = key::table(raw_table)?;
    let query = request.uri.query();
    let parameters =
        Parameters::parse(query, &request.headers, parameters::OF_SCAN, Access::Read)?.of(request);
    let begun = api.await_turn(begun, Access::Read, parameters.timeout).await?;
    let asked = ScanRequest {
        table: table.clone(),
        bounds: Bounds {
            start: parameters.start.clone(),
            prefix: parameters.prefix.clone(),
            end: parameters.end.clone(),
        },
        page: parameters.page.clone(),
        limit: parameters.limit.unwrap_or(DEFAULT_LIMIT),
        options: parameters.options(begun.since),
    };
    Ok(match begun.node.scan(asked).await {
        Ok(outcome) => {
            let met = outcome.met.clone();
            // Scans neither go by a session nor tell it anything: it goes back as it came.
            let session = session::after(parameters.session.as_deref(), None);
            Ended::Met(met, answer(outcome, &table, &parameters, &request.headers)?, session)
        }
        Err(failure) => {
            Ended::Refused(Problem::of_request(&failure.error, Access::Read), failure.trace.clone(), None)
        }
    })
}

fn answer(
    outcome: ScanOutcome,
    table: &str,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let ScanOutcome { records, now, next, .. } = outcome;
    let next = next.map(|token| URL_SAFE_NO_PAD.encode(token));
    let item = |(key, record)| Item::new(&key, record, now, parameters.keys_only);
    let items: Vec<Item> = records.into_iter().map(item).collect::<Result<_, _>>()?;
    let mut reply = if wants_lines(headers) {
        ([(CONTENT_TYPE, HeaderValue::from_static(NDJSON))], lines(&items)).into_response()
    } else {
        axum::Json(Page { items, next: next.as_deref() }).into_response()
    };
    if let Some(next) = next {
        let link = HeaderValue::try_from(format!("<{}>; rel=\"next\"", url(table, parameters, &next)));
        reply.headers_mut().insert(LINK, link.expect("what is not plain ASCII is escaped"));
    }
    Ok(reply)
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<Item>,
    next: Option<&'a str>,
}

/// The members of an item, in their order.
#[derive(Debug, Default, Serialize)]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Of a key that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
}

impl Item {
    fn new(key: &Bytes, record: Record, now: Timestamp, keys_only: bool) -> Result<Self, Problem> {
        let Record { timestamp, kind } = record;
        let (text, key_base64) = match std::str::from_utf8(key) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(key))),
        };
        let item = Self { key: text, key_base64, timestamp: timestamp.0, ..Self::default() };
        let (stored, expires_at) = match kind {
            RecordKind::Plain { value } => (value, None),
            RecordKind::Expiring { value, expires_at } => (value, Some(expires_at)),
            RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => return Ok(item),
        };
        if keys_only {
            return Ok(item);
        }
        let (headers, value) = envelope::open(stored).map_err(|error| {
            let detail = format!("key {}: {error}; `keys_only` passes over it", key.escape_ascii());
            Problem::new(Kind::ReadFailure, detail).not_sent(Access::Read)
        })?;
        Ok(Self {
            value_base64: Some(STANDARD.encode(value)),
            ttl: expires_at.map(|expires_at| seconds_left(expires_at, now)),
            content_type: text_of(&headers, &CONTENT_TYPE),
            content_encoding: text_of(&headers, &CONTENT_ENCODING),
            ..item
        })
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn lines(items: &[Item]) -> String {
    let mut lines = String::new();
    for item in items {
        lines.push_str(&serde_json::to_string(item).expect("an item has only texts and numbers"));
        lines.push('\n');
    }
    lines
}

/// Whether the client names NDJSON among what it accepts, and does not name JSON as what it likes better (RFC 9110,
/// section 12.5.1).
fn wants_lines(headers: &HeaderMap) -> bool {
    let lines = weight(headers, NDJSON);
    lines > 0.0 && lines >= weight(headers, "application/json")
}

/// How much a client that names a media type likes it; zero: not at all, or it does not say what can be read.
fn weight(headers: &HeaderMap, media_type: &str) -> f32 {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = accepted.flat_map(|value| value.split(','));
    let weights = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        let quality =
            parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        is_it.then(|| quality.map_or(1.0, |(_, weight)| weight.parse().unwrap_or(0.0)))
    });
    weights.fold(0.0, f32::max)
}

/// The next page with the parameters of this one, however they were given. `start` is behind it.
fn url(table: &str, parameters: &Parameters, next: &str) -> String {
    let Parameters { consistency, timeout, limit, prefix, end, keys_only, .. } = parameters;
    let mut query: Vec<String> = Vec::new();
    query.extend(limit.map(|limit| format!("limit={limit}")));
    query.extend(prefix.as_ref().map(|prefix| format!("prefix={}", escaped(prefix))));
    query.extend(end.as_ref().map(|end| format!("end={}", escaped(end))));
    query.extend(keys_only.then(|| "keys_only=1".to_owned()));
    query.extend(consistency.map(|level| format!("consistency={level}")));
    query.extend(timeout.as_ref().map(Duration::as_millis).map(|millis| format!("timeout_ms={millis}")));
    query.push(format!("page={next}"));
    format!("/v1/kv/{table}?{}", query.join("&"))
}

/// Percent-encoded, but for the unreserved characters of RFC 3986, section 2.3.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => write!(text, "%{byte:02X}").expect("a String takes all"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_clients_that_accept_them_and_like_nothing_better() {
        for (accept, expected) in [
            ("application/x-ndjson", true),
            ("Application/X-NDJSON; q=0.1", true),
            ("application/x-ndjson;q=0", false),
            ("application/x-ndjson;q=0.0, application/json", false),
            ("application/x-ndjson;q=0.5, application/json", false),
            ("application/json;q=0.5, application/x-ndjson", true),
            ("application/json, application/x-ndjson", true),
            ("application/x-ndjson;q=lots", false),
            ("*/*", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_lines(&headers), expected, "{accept}");
        }
    }
}
