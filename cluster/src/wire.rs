//! Messages as bytes: a small head and a raw payload.
//!
//! ```text
//! head     verb u8 │ version of the verb u8 │ header length u16 LE │ header │ fields
//! header   postcard of: sender, generation, target, ring version, schema version, class u8, remaining µs,
//!          timestamp µs, id of the client's request and whether it is traced, steps
//! steps    their count, then of each: µs since the request came, what happened; nothing at all if there are none
//!
//! verb              fields (postcard)    payload
//! 0x01 Exchange                          postcard of the exchange
//! 0x02 Write        relay, must win bools table u32 LE and mutation of each, as the storage engine encodes it
//! 0x03 Read         table u32, now µs,   storage key
//!                   forgotten before µs,
//!                   digest only bool
//! 0x04 Schema                            postcard of the facts
//! 0x05 Gossip                            postcard of the request
//! 0x06 Hints                             likewise
//! 0x07 Repair       table u32            mutations, as the storage engine encodes them
//! 0x08 Acknowledge  ticket u64, results
//! 0x09 Scan         table u32, now µs,   first storage key, and the one behind the last if there is one
//!                   limits 3 × u32,
//!                   length of the first,
//!                   has upper bound bool
//! 0x0A Shadow
//! 0x0B Multiget     of each: table u32,  storage keys
//!                   now µs, forgotten
//!                   before µs, digest
//!                   only bool, length
//!                   of its key
//! 0x81 Exchange                          postcard of the exchange
//! 0x82 Written      results: of each an
//!                   error, or owner bool
//!                   and the µs of what is
//!                   newer, if anything
//! 0x83 Record                            record, as the storage engine encodes it; empty for none
//! 0x84 Schema                            postcard of the facts
//! 0x85 Gossip                            postcard of the reply
//! 0x86 Hinted       applied u32, grant
//! 0x87 Digest       digest u128
//! 0x88 Noted
//! 0x89 Page         whole bool           records with their storage keys, as mutations of one row
//! 0x8A Shadow       cluster id, if any
//! 0x8B Multiget     of each: length of   records, as the storage engine encodes them
//!                   its record (0 for
//!                   none), or digest
//!                   u128, or error
//! 0xFF Failed       the replica's error
//! ```
//!
//! Keys and values travel in the payload only, because serde copies what it decodes: here they are decoded as slices
//! of the payload, which is a slice of what was read from the network.
//!
//! Two builds must understand each other's refusals. So verb, version and header come first and never change their
//! encoding (fields added to the header go to its end, after a count of steps even if it is 0, and older builds skip
//! them by its length): a verb or version
//! that a build does not know can still be answered ([`WireError::Unsupported`]). Fields and payload may change with
//! the version of their verb. Enums in them are encoded by position: new variants go to the end and need a new version
//! (not so the states of members, which are numbers: whoever does not know one passes it on).
//! Rejected: a self-describing encoding, which repeats the names of all fields in each message.
//!
//! Decoding trusts nothing: no input panics, and memory is reserved only for elements that the remaining bytes could
//! hold.

mod multiget;

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use helenus_storage::{Mutation, Record, TableId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    message::{
        ClientRequest, Header, MAX_STEP_BYTES, MAX_STEPS, Message, Request, Response, Step, TrafficClass,
    },
    node_id::{Generation, HostId},
    partitioning::KeyRange,
    quorum::{AsOf, PageLimits, ReplicaPage, Wants},
    time::Timestamp,
};

/// A message as bytes. The transport frames both parts and adds length and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Verb, verb version, header and small fields.
    pub head: Bytes,
    /// Keys and values, untouched.
    pub payload: Bytes,
}

/// Bytes that are no message of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A verb, verb version or record kind this build does not know; its header could still be read, so it can be
    /// answered.
    #[error("verb {verb} version {version} is not supported")]
    Unsupported {
        /// The verb.
        verb: u8,
        /// Its version.
        version: u8,
        /// The sender's header.
        header: Box<Header>,
    },
    /// Not a message at all.
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// Version of every verb of this build.
const VERSION: u8 = 9;

const EXCHANGE: u8 = 0x01;
const WRITE: u8 = 0x02;
const READ: u8 = 0x03;
const SCHEMA: u8 = 0x04;
const GOSSIP: u8 = 0x05;
const HINTS: u8 = 0x06;
const REPAIR: u8 = 0x07;
const ACKNOWLEDGE: u8 = 0x08;
const SCAN: u8 = 0x09;
const SHADOW: u8 = 0x0A;
const MULTIGET: u8 = 0x0B;
const EXCHANGE_ANSWER: u8 = 0x81;
const WRITTEN: u8 = 0x82;
const RECORD: u8 = 0x83;
const SCHEMA_ANSWER: u8 = 0x84;
const GOSSIP_REPLY: u8 = 0x85;
const HINTED: u8 = 0x86;
const DIGEST: u8 = 0x87;
const NOTED: u8 = 0x88;
const PAGE: u8 = 0x89;
const SHADOW_ANSWER: u8 = 0x8A;
const MULTIGET_ANSWER: u8 = 0x8B;
const FAILED: u8 = 0xFF;

/// Encodes a request. The remaining time is rounded down to microseconds.
pub fn encode_request(message: &Message<Request>) -> Encoded {
    let header = &message.header;
    match &message.body {
        Request::Shadow => Encoded { head: head(SHADOW, header, &()), payload: Bytes::new() },
        Request::Exchange(exchange) => {
            Encoded { head: head(EXCHANGE, header, &()), payload: postcard(exchange).into() }
        }
        Request::Gossip(gossip) => {
            Encoded { head: head(GOSSIP, header, &()), payload: postcard(gossip).into() }
        }
        Request::Schema { facts } => {
            Encoded { head: head(SCHEMA, header, &()), payload: postcard(facts).into() }
        }
        Request::Write { writes, relay, must_win } => {
            Encoded { head: head(WRITE, header, &(relay, must_win)), payload: of_tables(writes) }
        }
        Request::Acknowledge { ticket, results } => {
            Encoded { head: head(ACKNOWLEDGE, header, &(ticket, results)), payload: Bytes::new() }
        }
        Request::Read { table, key, as_of, wants } => {
            let fields = (table.0, as_of.now.0, as_of.forgotten_before.0, *wants == Wants::Digest);
            Encoded { head: head(READ, header, &fields), payload: key.clone() }
        }
        Request::Repair { table, mutations } => {
            let mut payload = BytesMut::with_capacity(mutations.iter().map(Mutation::encoded_len).sum());
            mutations.iter().for_each(|mutation| mutation.encode(&mut payload));
            Encoded { head: head(REPAIR, header, &table.0), payload: payload.freeze() }
        }
        Request::Scan { table, range, now, limits } => {
            let PageLimits { items, bytes, tombstones } = limits;
            let (first, until) = (&range.from, range.until.as_deref());
            let fields = (table.0, now.0, (items, bytes, tombstones), first.len() as u64, until.is_some());
            let payload = [first, until.unwrap_or_default()].concat();
            Encoded { head: head(SCAN, header, &fields), payload: payload.into() }
        }
        Request::Multiget { gets } => {
            let (fields, payload) = multiget::encode_gets(gets);
            Encoded { head: head(MULTIGET, header, &fields), payload }
        }
        Request::Hints { hints } => Encoded { head: head(HINTS, header, &()), payload: of_tables(hints) },
    }
}

/// Decodes a request.
///
/// # Errors
/// [`WireError`].
pub fn decode_request(encoded: Encoded) -> Result<Message<Request>, WireError> {
    let parts = Parts::split(encoded)?;
    let body = match (parts.verb, parts.version) {
        (SHADOW, VERSION) => {
            parts.no_payload()?;
            parts.fields::<()>()?;
            Request::Shadow
        }
        (EXCHANGE, VERSION) => {
            parts.fields::<()>()?;
            Request::Exchange(from_postcard(&parts.payload, "exchange")?)
        }
        (GOSSIP, VERSION) => {
            parts.fields::<()>()?;
            Request::Gossip(from_postcard(&parts.payload, "gossip")?)
        }
        (SCHEMA, VERSION) => {
            parts.fields::<()>()?;
            Request::Schema { facts: from_postcard(&parts.payload, "schema")? }
        }
        (WRITE, VERSION) => {
            let (relay, must_win) = parts.fields()?;
            Request::Write { writes: parts.of_tables()?.into(), relay, must_win }
        }
        (ACKNOWLEDGE, VERSION) => {
            parts.no_payload()?;
            let (ticket, results) = parts.fields()?;
            Request::Acknowledge { ticket, results }
        }
        (READ, VERSION) => {
            let (table, now, forgotten_before, is_digest) = parts.fields()?;
            let as_of = AsOf { now: Timestamp(now), forgotten_before: Timestamp(forgotten_before) };
            let wants = if is_digest { Wants::Digest } else { Wants::Record };
            Request::Read { table: TableId(table), key: parts.payload.clone(), as_of, wants }
        }
        (MULTIGET, VERSION) => Request::Multiget { gets: parts.gets()? },
        (HINTS, VERSION) => {
            parts.fields::<()>()?;
            Request::Hints { hints: parts.of_tables()? }
        }
        (REPAIR, VERSION) => {
            Request::Repair { table: TableId(parts.fields()?), mutations: parts.mutations()? }
        }
        (SCAN, VERSION) => {
            let (table, now, (items, bytes, tombstones), first_bytes, has_until) = parts.fields()?;
            let limits = PageLimits { items, bytes, tombstones };
            let range = parts.range(first_bytes, has_until)?;
            Request::Scan { table: TableId(table), range, now: Timestamp(now), limits }
        }
        _ => return Err(parts.unsupported()),
    };
    Ok(Message { header: parts.header, body })
}

/// Encodes an answer. The remaining time is rounded down to microseconds.
pub fn encode_response(message: &Message<Response>) -> Encoded {
    let header = &message.header;
    match &message.body {
        Response::Shadow { cluster_id } => {
            Encoded { head: head(SHADOW_ANSWER, header, cluster_id), payload: Bytes::new() }
        }
        Response::Exchange(exchange) => {
            Encoded { head: head(EXCHANGE_ANSWER, header, &()), payload: postcard(exchange).into() }
        }
        Response::Gossip(reply) => {
            Encoded { head: head(GOSSIP_REPLY, header, &()), payload: postcard(reply).into() }
        }
        Response::Schema { facts } => {
            Encoded { head: head(SCHEMA_ANSWER, header, &()), payload: postcard(facts).into() }
        }
        Response::Written { results } => {
            Encoded { head: head(WRITTEN, header, results), payload: Bytes::new() }
        }
        Response::Noted => Encoded { head: head(NOTED, header, &()), payload: Bytes::new() },
        Response::Record(record) => {
            let mut payload = BytesMut::with_capacity(record.as_ref().map_or(0, Record::encoded_len));
            if let Some(record) = record {
                record.encode(&mut payload);
            }
            Encoded { head: head(RECORD, header, &()), payload: payload.freeze() }
        }
        Response::Hinted { applied, grant } => {
            Encoded { head: head(HINTED, header, &(applied, grant)), payload: Bytes::new() }
        }
        Response::Digest(digest) => Encoded { head: head(DIGEST, header, digest), payload: Bytes::new() },
        Response::Multiget { answers } => {
            let (fields, payload) = multiget::encode_answers(answers);
            Encoded { head: head(MULTIGET_ANSWER, header, &fields), payload }
        }
        Response::Page(ReplicaPage { records, is_whole }) => {
            let rows = records.iter().map(|(key, record)| Mutation::single(key.clone(), record.clone()));
            let mut payload = BytesMut::with_capacity(rows.clone().map(|row| row.encoded_len()).sum());
            rows.for_each(|row| row.encode(&mut payload));
            Encoded { head: head(PAGE, header, is_whole), payload: payload.freeze() }
        }
        Response::Failed(error) => Encoded { head: head(FAILED, header, error), payload: Bytes::new() },
    }
}

/// Decodes an answer.
///
/// # Errors
/// [`WireError`].
pub fn decode_response(encoded: Encoded) -> Result<Message<Response>, WireError> {
    let parts = Parts::split(encoded)?;
    let body = match (parts.verb, parts.version) {
        (SHADOW_ANSWER, VERSION) => {
            parts.no_payload()?;
            Response::Shadow { cluster_id: parts.fields()? }
        }
        (EXCHANGE_ANSWER, VERSION) => {
            parts.fields::<()>()?;
            Response::Exchange(from_postcard(&parts.payload, "exchange")?)
        }
        (GOSSIP_REPLY, VERSION) => {
            parts.fields::<()>()?;
            Response::Gossip(from_postcard(&parts.payload, "gossip")?)
        }
        (SCHEMA_ANSWER, VERSION) => {
            parts.fields::<()>()?;
            Response::Schema { facts: from_postcard(&parts.payload, "schema")? }
        }
        (WRITTEN, VERSION) => {
            parts.no_payload()?;
            Response::Written { results: parts.fields()? }
        }
        (NOTED, VERSION) => {
            parts.no_payload()?;
            parts.fields::<()>()?;
            Response::Noted
        }
        (RECORD, VERSION) => {
            parts.fields::<()>()?;
            Response::Record(parts.record()?)
        }
        (HINTED, VERSION) => {
            parts.no_payload()?;
            let (applied, grant) = parts.fields()?;
            Response::Hinted { applied, grant }
        }
        (DIGEST, VERSION) => {
            parts.no_payload()?;
            Response::Digest(parts.fields()?)
        }
        (MULTIGET_ANSWER, VERSION) => Response::Multiget { answers: parts.answers()? },
        (PAGE, VERSION) => {
            let is_whole = parts.fields()?;
            let records = parts.mutations()?.into_iter().map(only_row).collect::<Result<_, _>>()?;
            Response::Page(ReplicaPage { records, is_whole })
        }
        (FAILED, VERSION) => {
            parts.no_payload()?;
            Response::Failed(parts.fields()?)
        }
        _ => return Err(parts.unsupported()),
    };
    Ok(Message { header: parts.header, body })
}

/// A message of which everything is decoded that does not depend on its verb.
struct Parts {
    verb: u8,
    version: u8,
    header: Header,
    fields: Bytes,
    payload: Bytes,
}

impl Parts {
    fn split(encoded: Encoded) -> Result<Self, WireError> {
        let Encoded { mut head, payload } = encoded;
        let truncated = |_| WireError::Malformed("the head ends too early".to_owned());
        let verb = head.try_get_u8().map_err(truncated)?;
        let version = head.try_get_u8().map_err(truncated)?;
        let length = usize::from(head.try_get_u16_le().map_err(truncated)?);
        if length > head.len() {
            return Err(WireError::Malformed("the header is longer than the head".to_owned()));
        }
        let header = head.split_to(length);
        // What is left of the header was added by a later build.
        let malformed = |error| WireError::Malformed(format!("header: {error}"));
        let (known, rest) = postcard::take_from_bytes::<WireHeader>(&header).map_err(malformed)?;
        let mut header = Header::from(known);
        if !rest.is_empty() {
            let (steps, _) = postcard::take_from_bytes::<Vec<WireStep<'_>>>(rest).map_err(malformed)?;
            header.steps = steps.into_iter().take(MAX_STEPS).map(Step::from).collect();
        }
        Ok(Self { verb, version, header, fields: head, payload })
    }

    fn fields<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        from_postcard(&self.fields, "fields")
    }

    fn no_payload(&self) -> Result<(), WireError> {
        if self.payload.is_empty() {
            Ok(())
        } else {
            Err(WireError::Malformed("a payload where none belongs".to_owned()))
        }
    }

    fn record(&self) -> Result<Option<Record>, WireError> {
        if self.payload.is_empty() {
            return Ok(None);
        }
        Record::decode(self.payload.clone()).map(Some).map_err(|error| self.storage(&error))
    }

    fn of_tables(&self) -> Result<Vec<(TableId, Mutation)>, WireError> {
        let mut payload = self.payload.clone();
        let mut mutations = Vec::new();
        while !payload.is_empty() {
            let table = payload.try_get_u32_le();
            let table = table.map_err(|_| WireError::Malformed("a mutation is cut short".to_owned()))?;
            let mutation = Mutation::decode_first(&mut payload).map_err(|error| self.storage(&error))?;
            mutations.push((TableId(table), mutation));
        }
        Ok(mutations)
    }

    fn mutations(&self) -> Result<Vec<Mutation>, WireError> {
        let mut payload = self.payload.clone();
        let mut mutations = Vec::new();
        while !payload.is_empty() {
            mutations.push(Mutation::decode_first(&mut payload).map_err(|error| self.storage(&error))?);
        }
        Ok(mutations)
    }

    fn range(&self, first_bytes: u64, has_until: bool) -> Result<KeyRange, WireError> {
        let first_bytes = usize::try_from(first_bytes).ok().filter(|length| *length <= self.payload.len());
        let first_bytes = first_bytes
            .ok_or_else(|| WireError::Malformed("the first key is longer than the payload".to_owned()))?;
        let (from, until) = (self.payload.slice(..first_bytes), self.payload.slice(first_bytes..));
        if !has_until && !until.is_empty() {
            return Err(WireError::Malformed("bytes after the first key".to_owned()));
        }
        Ok(KeyRange { from, until: has_until.then_some(until) })
    }

    /// A record kind of a later build is told apart from damage: the sender is right, and must learn that we lag.
    fn storage(&self, error: &helenus_storage::Error) -> WireError {
        match error {
            helenus_storage::Error::UnknownRecordKind { .. } => self.unsupported(),
            error => WireError::Malformed(error.to_string()),
        }
    }

    fn unsupported(&self) -> WireError {
        let header = Box::new(self.header.clone());
        WireError::Unsupported { verb: self.verb, version: self.version, header }
    }
}

/// [`Header`] as it is encoded; its fields keep their order for ever.
#[derive(Serialize, Deserialize)]
struct WireHeader {
    sender: HostId,
    generation: Generation,
    target: Option<HostId>,
    ring_version: u64,
    schema_version: u64,
    class: u8,
    remaining_us: u64,
    timestamp: u64,
    client_request: Option<ClientRequest>,
}

/// A [`Step`] as it is encoded: when, and what.
#[derive(Serialize, Deserialize)]
struct WireStep<'a>(u64, &'a str);

impl<'a> From<&'a Step> for WireStep<'a> {
    fn from(step: &'a Step) -> Self {
        Self(step.after_us, cut(&step.what))
    }
}

impl From<WireStep<'_>> for Step {
    fn from(WireStep(after_us, what): WireStep<'_>) -> Self {
        Self { after_us, what: cut(what).to_owned() }
    }
}

fn cut(what: &str) -> &str {
    &what[..what.floor_char_boundary(MAX_STEP_BYTES)]
}

const CONTROL_CLASS: u8 = 0;
const REQUEST_CLASS: u8 = 1;
const BACKGROUND_CLASS: u8 = 2;

impl From<&Header> for WireHeader {
    fn from(header: &Header) -> Self {
        Self {
            sender: header.sender,
            generation: header.generation,
            target: header.target,
            ring_version: header.ring_version,
            schema_version: header.schema_version,
            class: match header.class {
                TrafficClass::Control => CONTROL_CLASS,
                TrafficClass::Request => REQUEST_CLASS,
                TrafficClass::Background => BACKGROUND_CLASS,
            },
            remaining_us: u64::try_from(header.remaining.as_micros()).unwrap_or(u64::MAX),
            timestamp: header.timestamp.0,
            client_request: header.client_request,
        }
    }
}

impl From<WireHeader> for Header {
    fn from(header: WireHeader) -> Self {
        Self {
            sender: header.sender,
            generation: header.generation,
            target: header.target,
            ring_version: header.ring_version,
            schema_version: header.schema_version,
            class: match header.class {
                CONTROL_CLASS => TrafficClass::Control,
                BACKGROUND_CLASS => TrafficClass::Background,
                // A class of a later build must not make its header unreadable; it is no more urgent than a request.
                _ => TrafficClass::Request,
            },
            remaining: Duration::from_micros(header.remaining_us),
            timestamp: Timestamp(header.timestamp),
            client_request: header.client_request,
            steps: Vec::new(),
        }
    }
}

fn only_row(mutation: Mutation) -> Result<(Bytes, Record), WireError> {
    let Mutation { key, mut rows } = mutation;
    match (rows.pop(), rows.is_empty()) {
        (Some((suffix, record)), true) if suffix.is_empty() => Ok((key, record)),
        _ => Err(WireError::Malformed("a record of a page has several rows".to_owned())),
    }
}

fn of_tables(mutations: &[(TableId, Mutation)]) -> Bytes {
    let bytes = mutations.iter().map(|(_, mutation)| size_of::<u32>() + mutation.encoded_len());
    let mut payload = BytesMut::with_capacity(bytes.sum());
    for (table, mutation) in mutations {
        payload.put_u32_le(table.0);
        mutation.encode(&mut payload);
    }
    payload.freeze()
}

fn head(verb: u8, header: &Header, fields: &impl Serialize) -> Bytes {
    const FIXED: usize = 4;
    let mut head = Vec::with_capacity(128);
    head.extend([verb, VERSION, 0, 0]);
    let mut head = appended(head, &WireHeader::from(header));
    if !header.steps.is_empty() {
        let steps: Vec<WireStep<'_>> = header.steps.iter().take(MAX_STEPS).map(WireStep::from).collect();
        head = appended(head, &steps);
    }
    let length = u16::try_from(head.len() - FIXED).expect("a header takes a few kilobytes at most");
    head[2..FIXED].copy_from_slice(&length.to_le_bytes());
    appended(head, fields).into()
}

fn postcard(value: &impl Serialize) -> Vec<u8> {
    appended(Vec::new(), value)
}

fn appended(bytes: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, bytes)
        .expect("these types have no value that postcard refuses, and a Vec grows")
}

fn from_postcard<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, WireError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(WireError::Malformed(format!("bytes after the {what}"))),
        Err(error) => Err(WireError::Malformed(format!("{what}: {error}"))),
    }
}
