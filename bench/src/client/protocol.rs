//! Requests of a server's protocol, and what its replies mean.

use std::{borrow::Cow, io::Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;

use super::outcome::{Judgement, Outcome};

/// An operation on one key.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Reads it.
    Get {
        /// The key; of letters, digits, `-`, `_` and `.`.
        key: &'a str,
    },
    /// Writes it.
    Put {
        /// The key.
        key: &'a str,
        /// The value.
        value: &'a [u8],
    },
    /// Reads records from it on.
    Scan {
        /// The first key.
        start: &'a str,
        /// Records at most.
        limit: u64,
    },
}

impl<'a> Request<'a> {
    /// The key, of a scan the first.
    pub(super) fn key(self) -> &'a str {
        match self {
            Self::Get { key } | Self::Put { key, .. } | Self::Scan { start: key, .. } => key,
        }
    }
}

/// A server's language.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// Ours.
    Helenus {
        /// The table.
        table: String,
        /// The level, if not the table's.
        consistency: Option<String>,
    },
    /// The JSON gateway of etcd 3.
    Etcd,
}

/// A page of a scan holds at most so many items.
const PAGE_LIMIT: u64 = 1_000;

impl Protocol {
    /// Writes a request's bytes into `out`, replacing what is there.
    pub fn write(&self, authority: &str, request: Request<'_>, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Helenus { table, consistency } => {
                let level = consistency.as_deref();
                write_helenus(authority, table, level, request, out);
            }
            Self::Etcd => write_etcd(authority, request, out),
        }
    }

    /// What a reply means.
    #[must_use]
    pub fn judge(&self, request: Request<'_>, code: u16, body: &[u8]) -> Judgement {
        if code == 200 || (code == 202 && matches!(request, Request::Put { .. })) {
            let is_absent = matches!((self, request), (Self::Etcd, Request::Get { .. }))
                && !body.windows(6).any(|window| window == b"\"kvs\":");
            return if is_absent { Judgement::of_failure(404, None) } else { Judgement::OK };
        }
        let mut judgement = Judgement::of_failure(code, problem(body).as_deref());
        if judgement.outcome == Outcome::NotFound && !matches!(request, Request::Get { .. }) {
            judgement.outcome = Outcome::Other;
        }
        judgement
    }

    /// The value in the reply to a get; nothing if there is none.
    #[must_use]
    pub fn value<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Helenus { .. } => Cow::Borrowed(body),
            Self::Etcd => {
                let range: Option<EtcdRange> = serde_json::from_slice(body).ok();
                let first = range.and_then(|range| range.kvs.into_iter().next());
                Cow::Owned(first.and_then(|kv| BASE64.decode(kv.value).ok()).unwrap_or_default())
            }
        }
    }
}

#[derive(Deserialize)]
struct EtcdRange {
    #[serde(default)]
    kvs: Vec<EtcdValue>,
}

#[derive(Deserialize)]
struct EtcdValue {
    #[serde(default)]
    value: String,
}

/// The last part of a problem document's type.
fn problem(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    problem.r#type.rsplit('/').next().map(|name| name.chars().take(40).collect())
}

/// Writing into memory cannot fail.
const INFALLIBLE: &str = "a vector takes all bytes";

fn write_helenus(authority: &str, table: &str, level: Option<&str>, request: Request<'_>, out: &mut Vec<u8>) {
    let (method, key) = match request {
        Request::Get { key } => ("GET", Some(key)),
        Request::Put { key, .. } => ("PUT", Some(key)),
        Request::Scan { .. } => ("GET", None),
    };
    write!(out, "{method} /v1/kv/{table}").expect(INFALLIBLE);
    let mut separator = '?';
    if let Some(key) = key {
        write!(out, "/{key}").expect(INFALLIBLE);
    }
    if let Request::Scan { start, limit } = request {
        write!(out, "?start={start}&limit={}", limit.min(PAGE_LIMIT)).expect(INFALLIBLE);
        separator = '&';
    }
    if let Some(level) = level {
        write!(out, "{separator}consistency={level}").expect(INFALLIBLE);
    }
    write!(out, " HTTP/1.1\r\nhost: {authority}\r\n").expect(INFALLIBLE);
    if let Request::Put { value, .. } = request {
        write!(out, "content-length: {}\r\n\r\n", value.len()).expect(INFALLIBLE);
        out.extend_from_slice(value);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

fn write_etcd(authority: &str, request: Request<'_>, out: &mut Vec<u8>) {
    let (route, body) = match request {
        Request::Get { key } => ("range", format!(r#"{{"key":"{}"}}"#, BASE64.encode(key))),
        Request::Put { key, value } => {
            ("put", format!(r#"{{"key":"{}","value":"{}"}}"#, BASE64.encode(key), BASE64.encode(value)))
        }
        // The range end of one zero byte means: to the last key.
        Request::Scan { start, limit } => {
            ("range", format!(r#"{{"key":"{}","range_end":"AA==","limit":"{limit}"}}"#, BASE64.encode(start)))
        }
    };
    write!(out, "POST /v3/kv/{route} HTTP/1.1\r\nhost: {authority}\r\n").expect(INFALLIBLE);
    write!(out, "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect(INFALLIBLE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_helenus_are_as_documented() {
        let protocol = Protocol::Helenus { table: "t".to_owned(), consistency: Some("one".to_owned()) };
        let mut out = Vec::new();
        let mut text = |request| {
            protocol.write("h:1", request, &mut out);
            String::from_utf8(out.clone()).expect("text")
        };
        assert_eq!(
            text(Request::Get { key: "k" }),
            "GET /v1/kv/t/k?consistency=one HTTP/1.1\r\nhost: h:1\r\n\r\n"
        );
        assert_eq!(
            text(Request::Put { key: "k", value: b"vv" }),
            "PUT /v1/kv/t/k?consistency=one HTTP/1.1\r\nhost: h:1\r\ncontent-length: 2\r\n\r\nvv"
        );
        assert_eq!(
            text(Request::Scan { start: "k", limit: 5 }),
            "GET /v1/kv/t?start=k&limit=5&consistency=one HTTP/1.1\r\nhost: h:1\r\n\r\n"
        );
    }

    #[test]
    fn failures_keep_their_kind_and_are_no_successes() {
        let protocol = Protocol::Helenus { table: "t".to_owned(), consistency: None };
        let get = Request::Get { key: "k" };
        let problem = |name: &str| format!(r#"{{"type":"/problems/{name}","status":0}}"#);
        for (code, name, outcome, status) in [
            (503, "unavailable", Outcome::Unavailable, "SERVICE_UNAVAILABLE"),
            (503, "draining", Outcome::Unavailable, "SERVICE_UNAVAILABLE"),
            (503, "overloaded", Outcome::Overloaded, "SERVICE_UNAVAILABLE"),
            (429, "rate-limited", Outcome::Overloaded, "SERVICE_UNAVAILABLE"),
            (504, "read-timeout", Outcome::Timeout, "ERROR"),
            (500, "read-failure", Outcome::Other, "ERROR"),
            (404, "not-found", Outcome::NotFound, "NOT_FOUND"),
            (404, "no-such-table", Outcome::Other, "NOT_FOUND"),
            (400, "bad-request", Outcome::Other, "BAD_REQUEST"),
            (501, "not-implemented", Outcome::Other, "NOT_IMPLEMENTED"),
            (409, "schema-conflict", Outcome::Other, "ERROR"),
            (302, "elsewhere", Outcome::Other, "ERROR"),
        ] {
            let judgement = protocol.judge(get, code, problem(name).as_bytes());
            assert_eq!((judgement.outcome, judgement.status), (outcome, status), "{code} {name}");
            assert_eq!(judgement.detail, Some(format!("{code} {name}")));
        }
        assert!(protocol.judge(get, 200, b"").is_ok());
        assert!(!protocol.judge(get, 202, b"").is_ok());
        assert!(protocol.judge(Request::Put { key: "k", value: b"" }, 202, b"").is_ok());
    }

    #[test]
    fn an_etcd_range_without_keys_is_not_found() {
        let get = Request::Get { key: "k" };
        assert_eq!(Protocol::Etcd.judge(get, 200, br#"{"header":{}}"#).outcome, Outcome::NotFound);
        let body = br#"{"header":{},"kvs":[{"key":"aw==","value":"dnY="}],"count":"1"}"#;
        assert!(Protocol::Etcd.judge(get, 200, body).is_ok());
        assert_eq!(&*Protocol::Etcd.value(body), b"vv");
    }
}
