//! Parameters of reads and writes, from the query and their header aliases. What is unknown, doubled,
//! contradictory or out of range is refused with its name: a misspelt `?consistancy=` must not silently weaken a
//! read.

use std::{sync::Arc, time::Duration};

use axum::http::request::Parts;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use helenus_cluster::{consistency::Consistency, node::RequestOptions, session::Session, time::Timestamp};
use hyper::HeaderMap;
use tokio::time::Instant;

use super::{
    edge::RequestNumber,
    envelope::META_PREFIX,
    key::{self, KeyEncoding, percent_decode},
    problem::{Access, Kind, Problem},
    query::{decode, digits},
    session,
};

/// Longest deadline a client may ask for, milliseconds.
const MAX_TIMEOUT_MS: u64 = 30_000;

/// Longest time to live: 20 years of 365 days, in seconds.
pub(super) const MAX_TTL_SECONDS: u64 = 20 * 365 * 24 * 60 * 60;

/// Most items of a page.
const MAX_LIMIT: u64 = 1000;

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Consistency,
    TimeoutMs,
    Ttl,
    Timestamp,
    Trace,
    KeyEncoding,
    Limit,
    Page,
    Start,
    Prefix,
    End,
    KeysOnly,
}

impl Name {
    const ALL: [Self; 12] = [
        Self::Consistency,
        Self::TimeoutMs,
        Self::Ttl,
        Self::Timestamp,
        Self::Trace,
        Self::KeyEncoding,
        Self::Limit,
        Self::Page,
        Self::Start,
        Self::Prefix,
        Self::End,
        Self::KeysOnly,
    ];

    fn query(self) -> &'static str {
        match self {
            Self::Consistency => "consistency",
            Self::TimeoutMs => "timeout_ms",
            Self::Ttl => "ttl",
            Self::Timestamp => "timestamp",
            Self::Trace => "trace",
            Self::KeyEncoding => "key_encoding",
            Self::Limit => "limit",
            Self::Page => "page",
            Self::Start => "start",
            Self::Prefix => "prefix",
            Self::End => "end",
            Self::KeysOnly => "keys_only",
        }
    }

    /// Its plain header alias; `Prefer` is a list and read apart.
    fn header(self) -> Option<&'static str> {
        match self {
            Self::Consistency => Some("helenus-consistency"),
            Self::Ttl => Some("helenus-ttl"),
            Self::Timestamp => Some("helenus-timestamp"),
            _ => None,
        }
    }
}

/// What GET and HEAD take.
pub(crate) const OF_GET: &[Name] = &[Name::Consistency, Name::TimeoutMs, Name::Trace, Name::KeyEncoding];
/// What PUT and POST of a key take.
pub(crate) const OF_PUT: &[Name] =
    &[Name::Consistency, Name::TimeoutMs, Name::Ttl, Name::Timestamp, Name::Trace, Name::KeyEncoding];
/// What POST of a table takes: the key is the server's.
pub(crate) const OF_CREATE: &[Name] =
    &[Name::Consistency, Name::TimeoutMs, Name::Ttl, Name::Timestamp, Name::Trace];
/// What DELETE takes: a tombstone does not expire.
pub(crate) const OF_DELETE: &[Name] =
    &[Name::Consistency, Name::TimeoutMs, Name::Timestamp, Name::Trace, Name::KeyEncoding];

/// What GET of a table takes.
pub(crate) const OF_SCAN: &[Name] = &[
    Name::Limit,
    Name::Page,
    Name::Start,
    Name::Prefix,
    Name::End,
    Name::KeysOnly,
    Name::Consistency,
    Name::TimeoutMs,
    Name::Trace,
];

/// What a batch takes: the rest is said in its body.
pub(crate) const OF_BATCH: &[Name] = &[Name::TimeoutMs];

/// What the question where a key is takes.
pub(crate) const OF_ENDPOINTS: &[Name] = &[Name::KeyEncoding];

/// The parameters of one request, absent where the client left the choice to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) consistency: Option<Consistency>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) trace: bool,
    pub(crate) key_encoding: KeyEncoding,
    pub(crate) limit: Option<u32>,
    pub(crate) page: Option<Bytes>,
    pub(crate) start: Option<Bytes>,
    pub(crate) prefix: Option<Bytes>,
    pub(crate) end: Option<Bytes>,
    pub(crate) keys_only: bool,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) request_id: Option<u64>,
}

impl Parameters {
    /// Reads them from a raw query and the headers.
    ///
    /// # Errors
    /// 400 or 501 naming the field.
    pub(crate) fn parse(
        query: Option<&str>,
        headers: &HeaderMap,
        accepted: &[Name],
        access: Access,
    ) -> Result<Self, Problem> {
        let mut parameters = Self::default();
        let mut seen: Vec<Name> = Vec::new();
        for piece in query.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
            let (raw_name, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
            let (Some(text), Some(value)) = (decode(raw_name), percent_decode(raw_value)) else {
                return Err(Problem::bad_field(raw_name, "the query has a broken percent-escape"));
            };
            let Some(name) = accepted.iter().copied().find(|name| name.query() == text) else {
                return Err(Problem::bad_field(&text, unknown_parameter(&text, accepted)));
            };
            if seen.contains(&name) {
                return Err(Problem::bad_field(&text, format!("`{text}` is given more than once")));
            }
            seen.push(name);
            parameters.set_bytes(name, value)?;
        }
        let mut from_headers = Self::default();
        from_headers.read_headers(headers, accepted)?;
        parameters.merge(&from_headers)?;
        parameters.check_level(access)?;
        parameters.session = session::of(headers)?;
        Ok(parameters)
    }

    /// For the request with this head.
    pub(crate) fn of(mut self, head: &Parts) -> Self {
        self.request_id = head.extensions.get().map(|RequestNumber(number)| *number);
        self
    }

    /// What the coordinator is asked.
    pub(crate) fn options(&self, since: Instant) -> RequestOptions {
        RequestOptions {
            consistency: self.consistency,
            timeout: self.timeout,
            since: Some(since),
            request_id: self.request_id,
            trace: self.trace,
            session: self.session.clone(),
        }
    }

    /// Keys are any bytes, everything else is text.
    fn set_bytes(&mut self, name: Name, value: Vec<u8>) -> Result<(), Problem> {
        match name {
            Name::Start => self.start = Some(bound(name, value.into())?),
            Name::End => self.end = Some(bound(name, value.into())?),
            Name::Prefix if value.is_empty() => {}
            Name::Prefix => self.prefix = Some(bound(name, value.into())?),
            _ => {
                let text = String::from_utf8(value).map_err(|_| {
                    Problem::bad_field(name.query(), format!("`{}` is not UTF-8", name.query()))
                })?;
                self.set(name, &text)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: Name, value: &str) -> Result<(), Problem> {
        match name {
            Name::Consistency => {
                self.consistency = Some(value.parse().map_err(|error| {
                    Problem::new(Kind::InvalidConsistency, format!("{error}")).about(name.query())
                })?);
            }
            Name::TimeoutMs => {
                let milliseconds = integer(name, value, 1..=MAX_TIMEOUT_MS)?;
                self.timeout = Some(Duration::from_millis(milliseconds));
            }
            Name::Ttl => self.ttl = Some(Duration::from_secs(integer(name, value, 1..=MAX_TTL_SECONDS)?)),
            Name::Timestamp => self.timestamp = Some(Timestamp(integer(name, value, 1..=u64::MAX)?)),
            Name::Trace if value == "1" => self.trace = true,
            Name::Trace => return Err(Problem::bad_field(name.query(), "the only value of `trace` is 1")),
            Name::Limit => {
                self.limit = u32::try_from(integer(name, value, 1..=MAX_LIMIT)?).ok();
            }
            Name::Page => {
                let token = URL_SAFE_NO_PAD.decode(value).map_err(|_| {
                    Problem::bad_field(
                        name.query(),
                        "the page token is damaged: it is not unpadded base64url",
                    )
                })?;
                self.page = Some(token.into());
            }
            Name::KeysOnly => {
                self.keys_only = match value {
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(Problem::bad_field(name.query(), "`keys_only` is 1 or 0")),
                };
            }
            Name::Start | Name::Prefix | Name::End => {
                return self.set_bytes(name, value.as_bytes().to_vec());
            }
            Name::KeyEncoding if value == "base64url" => self.key_encoding = KeyEncoding::Base64Url,
            Name::KeyEncoding => {
                return Err(Problem::bad_field(
                    name.query(),
                    "the only value of `key_encoding` is base64url",
                ));
            }
        }
        Ok(())
    }

    fn read_headers(&mut self, headers: &HeaderMap, accepted: &[Name]) -> Result<(), Problem> {
        for name in Name::ALL {
            let Some(header) = name.header() else { continue };
            let mut values = headers.get_all(header).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(Problem::bad_field(name.query(), format!("`{header}` is given more than once")));
            }
            if !accepted.contains(&name) {
                return Err(Problem::bad_field(name.query(), format!("`{header}` does not apply here")));
            }
            let value = value.to_str().map_err(|_| {
                Problem::bad_field(name.query(), format!("`{header}` has characters beyond ASCII"))
            })?;
            self.set(name, value)?;
        }
        self.timeout = preferred_wait(headers)?;
        Ok(())
    }

    /// Takes over what the headers say; both may speak only with one voice.
    fn merge(&mut self, headers: &Self) -> Result<(), Problem> {
        fn one<T: Copy + PartialEq>(
            name: Name,
            query: &mut Option<T>,
            header: Option<T>,
        ) -> Result<(), Problem> {
            match (*query, header) {
                (Some(a), Some(b)) if a != b => Err(Problem::bad_field(
                    name.query(),
                    format!("`{}` differs between query and header", name.query()),
                )),
                (None, _) => {
                    *query = header;
                    Ok(())
                }
                _ => Ok(()),
            }
        }
        one(Name::Consistency, &mut self.consistency, headers.consistency)?;
        one(Name::TimeoutMs, &mut self.timeout, headers.timeout)?;
        one(Name::Ttl, &mut self.ttl, headers.ttl)?;
        one(Name::Timestamp, &mut self.timestamp, headers.timestamp)
    }

    /// The rules that hold whatever the cluster looks like; the others are the coordinator's.
    ///
    /// # Errors
    /// 400 or 501 naming the level.
    pub(super) fn check_level(&self, access: Access) -> Result<(), Problem> {
        let Some(level) = self.consistency else { return Ok(()) };
        let (kind, detail) = match (access, level) {
            (Access::Read, Consistency::Any) => {
                (Kind::InvalidConsistency, "is for writes: a hint cannot answer a read")
            }
            (Access::Write, Consistency::Serial | Consistency::LocalSerial) => {
                (Kind::InvalidConsistency, "is for reads: a plain write is never linearizable")
            }
            (Access::Read, Consistency::Serial | Consistency::LocalSerial) => {
                (Kind::NotImplemented, "needs compare-and-set, which this build lacks")
            }
            _ => return Ok(()),
        };
        let mut problem = Problem::new(kind, format!("level {level} {detail}")).about("consistency");
        problem.level = Some(level);
        Err(problem)
    }
}

/// `Prefer: wait=s` of RFC 7240; other preferences are none of our business.
fn preferred_wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    const FIELD: &str = "timeout_ms";
    let mut wait = None;
    for value in headers.get_all("prefer") {
        for preference in value.as_bytes().split(|byte| *byte == b',') {
            let Ok(preference) = std::str::from_utf8(preference) else { continue };
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            if !name.trim().eq_ignore_ascii_case("wait") {
                continue;
            }
            let value = value.split(';').next().unwrap_or_default().trim().trim_matches('"');
            let seconds = digits(value)
                .filter(|seconds| (1..=MAX_TIMEOUT_MS / 1000).contains(seconds))
                .ok_or_else(|| Problem::bad_field(FIELD, "`Prefer: wait` takes 1 to 30 seconds"))?;
            let seconds = Duration::from_secs(seconds);
            if wait.is_some_and(|earlier| earlier != seconds) {
                return Err(Problem::bad_field(FIELD, "`Prefer: wait` is given twice and differs"));
            }
            wait = Some(seconds);
        }
    }
    Ok(wait)
}

fn integer(name: Name, text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, Problem> {
    digits(text).filter(|number| range.contains(number)).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Problem::bad_field(name.query(), {
            let name = name.query();
            format!("`{name}` is a whole number from {low} to {high}, without leading zeros")
        })
    })
}

/// A bound of a scan: as long as a key.
fn bound(name: Name, bytes: Bytes) -> Result<Bytes, Problem> {
    key::checked(bytes).map_err(|problem| problem.about(name.query()))
}

fn unknown_parameter(text: &str, accepted: &[Name]) -> String {
    if Name::ALL.iter().any(|name| name.query() == text) {
        return format!("`{text}` does not apply here");
    }
    let known: Vec<_> = accepted.iter().map(|name| name.query()).collect();
    format!("there is no parameter `{text}` here; known are {}", known.join(", "))
}

/// Refuses headers with our prefix that mean nothing here: a misspelt `Helenus-Consistancy` must not silently weaken a
/// request. Metadata is the client's own, and a client may send its session with whatever it asks.
///
/// # Errors
/// 400 naming the header.
pub(crate) fn known_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let is_known = |name: &str| {
        let is_alias = || Name::ALL.iter().any(|known| known.header() == Some(name));
        !name.starts_with("helenus-")
            || name.starts_with(META_PREFIX)
            || *name == session::SESSION
            || is_alias()
    };
    match headers.keys().find(|name| !is_known(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<_> = Name::ALL.iter().filter_map(|known| known.header()).collect();
            let detail = format!(
                "there is no header `{name}`; known are {}, {} and {META_PREFIX}*",
                known.join(", "),
                session::SESSION
            );
            Err(Problem::bad_field(name.as_str(), detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn parse(query: &str, headers: &[(&'static str, &'static str)]) -> Result<Parameters, (Kind, String)> {
        parse_for(query, headers, OF_PUT, Access::Write)
    }

    fn parse_for(
        query: &str,
        headers: &[(&'static str, &'static str)],
        accepted: &[Name],
        access: Access,
    ) -> Result<Parameters, (Kind, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Parameters::parse(Some(query), &map, accepted, access)
            .map_err(|problem| (problem.kind, problem.field.unwrap_or_default()))
    }

    fn bad(field: &str) -> Result<Parameters, (Kind, String)> {
        Err((Kind::BadRequest, field.to_owned()))
    }

    #[test]
    fn all_parameters_are_read() {
        let all =
            parse("consistency=QuOrUm&timeout_ms=250&ttl=60&timestamp=1&trace=1&key_encoding=base64url", &[]);
        assert_eq!(
            all.unwrap(),
            Parameters {
                consistency: Some(Consistency::Quorum),
                timeout: Some(Duration::from_millis(250)),
                ttl: Some(Duration::from_secs(60)),
                timestamp: Some(Timestamp(1)),
                trace: true,
                key_encoding: KeyEncoding::Base64Url,
                ..Parameters::default()
            }
        );
        assert_eq!(parse("", &[]).unwrap(), Parameters::default());
        assert_eq!(parse("&&trace=1&", &[]).unwrap(), parse("tr%61ce=%31", &[]).unwrap());
    }

    #[test]
    fn headers_say_the_same_and_may_not_contradict() {
        let both =
            parse("ttl=60&timeout_ms=3000", &[("helenus-ttl", "60"), ("prefer", "x, Wait=3")]).unwrap();
        assert_eq!((both.ttl, both.timeout), (Some(Duration::from_secs(60)), Some(Duration::from_secs(3))));
        assert_eq!(
            parse("", &[("helenus-consistency", "2")]).unwrap().consistency,
            Some(Consistency::Count(2))
        );
        assert_eq!(parse("consistency=one", &[("helenus-consistency", "two")]), bad("consistency"));
        assert_eq!(parse("timeout_ms=3001", &[("prefer", "wait=3")]), bad("timeout_ms"));
        assert_eq!(parse("timestamp=1", &[("helenus-timestamp", "2")]), bad("timestamp"));
        assert_eq!(parse("", &[("helenus-ttl", "1"), ("helenus-ttl", "1")]), bad("ttl"));
        assert_eq!(parse("", &[("prefer", "wait=1, wait=2")]), bad("timeout_ms"));
    }

    #[test]
    fn what_is_unknown_or_doubled_is_named() {
        assert_eq!(parse("consistancy=all", &[]), bad("consistancy"));
        assert_eq!(parse("Consistency=all", &[]), bad("Consistency"));
        assert_eq!(parse("ttl=1&ttl=1", &[]), bad("ttl"));
        assert_eq!(parse("x%zz=1", &[]), bad("x%zz"));
        assert_eq!(parse_for("ttl=1", &[], OF_GET, Access::Read), bad("ttl"));
        assert_eq!(parse_for("", &[("helenus-ttl", "1")], OF_DELETE, Access::Write), bad("ttl"));
        assert_eq!(parse_for("key_encoding=base64url", &[], OF_CREATE, Access::Write), bad("key_encoding"));
    }

    #[test]
    fn numbers_have_digits_and_bounds() {
        for text in ["", "0", "-1", "+1", "1.5", "1e3", "x", "30001", "05", "99999999999999999999999", "%201"]
        {
            assert_eq!(parse(&format!("timeout_ms={text}"), &[]), bad("timeout_ms"), "{text}");
        }
        assert!(parse("timeout_ms=30000&ttl=630720000&timestamp=18446744073709551615", &[]).is_ok());
        assert_eq!(parse("ttl=630720001", &[]), bad("ttl"));
        assert_eq!(parse("timestamp=0", &[]), bad("timestamp"));
        assert_eq!(parse("timestamp=18446744073709551616", &[]), bad("timestamp"));
        for value in ["wait=0", "wait=31", "wait", "wait=1.5", "wait=01"] {
            assert_eq!(parse("", &[("prefer", value)]), bad("timeout_ms"), "{value}");
        }
    }

    #[test]
    fn bounds_of_a_scan_are_any_bytes_of_the_length_of_a_key() {
        let scan = |query: &str| parse_for(query, &[], OF_SCAN, Access::Read);
        let all = scan("start=%ff%00&end=a%26b&prefix=&limit=1000&page=_-8&keys_only=1").unwrap();
        assert_eq!((all.start.as_deref(), all.end.as_deref()), (Some(&b"\xff\0"[..]), Some(&b"a&b"[..])));
        assert_eq!((all.prefix, all.limit, all.page.as_deref()), (None, Some(1000), Some(&b"\xff\xef"[..])));
        assert!(all.keys_only && !scan("keys_only=0").unwrap().keys_only);
        for query in ["limit=0", "limit=1001", "limit=1x", "limit=", "page=_-8=", "page=%ff", "keys_only=yes"]
        {
            assert_eq!(scan(query), bad(query.split('=').next().unwrap()), "{query}");
        }
        assert_eq!(scan("start="), Err((Kind::InvalidKey, "start".to_owned())));
        let long = "x".repeat(4097);
        assert_eq!(scan(&format!("prefix={long}")), Err((Kind::KeyTooLarge, "prefix".to_owned())));
        assert_eq!(scan("ttl=1"), bad("ttl"));
        assert_eq!(parse_for("limit=1", &[], OF_GET, Access::Read), bad("limit"));
    }

    #[test]
    fn levels_fit_the_access() {
        let invalid = Err((Kind::InvalidConsistency, "consistency".to_owned()));
        let missing = Err((Kind::NotImplemented, "consistency".to_owned()));
        let read = |query: &str| parse_for(query, &[], OF_GET, Access::Read);
        assert_eq!(read("consistency=any"), invalid);
        assert_eq!(read("consistency=serial"), missing);
        assert_eq!(parse("consistency=serial", &[]), invalid);
        assert_eq!(parse("consistency=local_serial", &[]), invalid);
        for text in ["", "0", "-1", "01", "most", "quorum ", "99999999999", "1.0"] {
            assert_eq!(parse(&format!("consistency={text}"), &[]), invalid, "{text}");
        }
    }
}
