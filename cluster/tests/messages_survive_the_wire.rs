//! Promise: what one build encodes, every build decodes, or says that it cannot; and no bytes do harm.

mod setting;

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use helenus_cluster::{
    consistency::Consistency,
    handoff::Grant,
    membership::{
        Exchange, Gossip, GossipAnswer, GossipReply, GossipRequest, Member, MemberState,
        digest::{Ack, Delta, Digest, Fact, Span, Syn, Tag},
    },
    message::{
        Applied, ClientRequest, Get, Got, Header, MAX_STEP_BYTES, MAX_STEPS, Message, Receipt, Relay,
        ReplicaError, Request, Response, Step, TrafficClass,
    },
    node_id::{ClusterId, Generation, HostId},
    partitioning::KeyRange,
    quorum::{self, Answer, AsOf, PageLimits, ReplicaPage, Wants},
    table::{Definition, Replication, Table},
    time::Timestamp,
    wire::{Encoded, WireError, decode_request, decode_response, encode_request, encode_response},
};
use helenus_storage::{Mutation, Record, TableId};
use proptest::prelude::*;
use setting::host;
use uuid::Uuid;

fn header() -> Header {
    Header {
        sender: host(1),
        generation: Generation(300),
        target: Some(host(2)),
        ring_version: 1,
        schema_version: 2,
        class: TrafficClass::Request,
        remaining: Duration::from_micros(5),
        timestamp: Timestamp(6),
        client_request: Some(ClientRequest { id: 7, is_traced: true }),
        steps: Vec::new(),
    }
}

fn exchange() -> Exchange {
    Exchange {
        cluster_id: Some(ClusterId(Uuid::from_u128(3))),
        members: vec![Member {
            host_id: host(1),
            generation: Generation(300),
            version: 4,
            address: "h:1".to_owned(),
            datacenter: "d".to_owned(),
            rack: "r".to_owned(),
            state: MemberState::Normal,
            tokens: vec![-1, 64],
        }],
        tables: vec![Table::default_with_factor(3)],
        has_user_records: true,
    }
}

fn digest() -> Digest {
    Digest {
        host_id: host(1),
        removed: false,
        generation: Generation(300),
        heartbeat: 5,
        described: 4,
        told: 2,
    }
}

fn delta() -> Delta {
    let member = exchange().members.swap_remove(0);
    let facts = vec![(Tag(3), Fact { version: 2, bytes: b"v".to_vec() })];
    Delta { digest: digest(), description: Some(Arc::new(member)), after: 1, facts }
}

fn gossip(gossip: Gossip) -> Request {
    Request::Gossip(GossipRequest { cluster_id: ClusterId(Uuid::from_u128(3)), gossip })
}

fn gossiped(answer: GossipAnswer) -> Response {
    Response::Gossip(GossipReply { received_us: 8, answered_us: 9, answer })
}

fn table() -> Table {
    let factors = [("e".to_owned(), 2)].into();
    let definition = Definition::replicated(Replication::NetworkTopology { factors });
    Table { name: "t".to_owned(), incarnation: 7, definition, version: 300, is_dropped: true }
}

/// Payload of one [`table`].
const TABLE: &str = concat!(
    "01",             // one
    "0174",           // its name
    "07",             // incarnation
    "01",             // network topology
    "01",             // of one datacenter
    "0165",           // of that name
    "02",             // with that factor
    "04",             // read at quorum
    "04",             // written at quorum
    "00",             // no time to live
    "80de34",         // ten days of grace
    "00",             // unified compaction
    "0654362c205434", // T6, T4
    "8080808004",     // tables of 1 GiB
    "02de07",         // another replica after p99
    "ac02",           // version
    "01",             // dropped
);

fn request(body: Request) -> Message<Request> {
    Message { header: header(), body }
}

fn response(body: Response) -> Message<Response> {
    Message { header: header(), body }
}

/// Bytes as `xxd -p` prints them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Length and bytes of [`header`].
const HEADER: &str = concat!(
    "2d00",
    "1000000000000000000000000000000001",
    "ac02",
    "011000000000000000000000000000000002",
    "01",
    "02",
    "01",
    "05",
    "06",
    "010701",
);

/// Payload of [`exchange`].
const EXCHANGE: &str = concat!(
    "011000000000000000000000000000000003",
    "01",
    "1000000000000000000000000000000001",
    "ac02",
    "04",
    "03683a31",
    "0164",
    "0172",
    "02",
    "02018001",
    "01",
    "0764656661756c74",
    "00",
    "0003",
    "0404",
    "00",
    "80de34",
    "000654362c2054348080808004",
    "02de07",
    "00",
    "00",
    "01",
);

/// The cluster of [`gossip`].
const CLUSTER: &str = "1000000000000000000000000000000003";

/// Of [`digest`].
const DIGEST: &str = concat!("1000000000000000000000000000000001", "00", "ac02", "05", "04", "02");

/// Of [`delta`], after its digest.
const DELTA: &str = concat!(
    "01",
    "1000000000000000000000000000000001",
    "ac02",
    "04",
    "03683a31",
    "0164",
    "0172",
    "02",
    "02018001",
    "01",
    "01",
    "03",
    "02",
    "0176",
);

#[test]
fn gossip_is_these_bytes() {
    let span = Span { from: host(1), to: host(2) };
    let hosts = "1000000000000000000000000000000001 1000000000000000000000000000000002";
    let syn = gossip(Gossip::Syn(Syn { span, digests: vec![digest()] }));
    let requests = [
        (syn, format!("{CLUSTER} 00 {hosts} 01 {DIGEST}")),
        (gossip(Gossip::Ack2(vec![delta()])), format!("{CLUSTER} 01 01 {DIGEST} {DELTA}")),
        (gossip(Gossip::Probe(host(1))), format!("{CLUSTER} 02 1000000000000000000000000000000001")),
    ];
    for (body, payload) in requests {
        let encoded = encode_request(&request(body.clone()));
        assert_eq!(hex(&encoded.head), format!("0509{HEADER}"), "{body:?}");
        assert_eq!(hex(&encoded.payload), payload.replace(' ', ""), "{body:?}");
        assert_eq!(decode_request(encoded), Ok(request(body)));
    }
    let ack = Ack { own: digest(), wanted: vec![digest()], younger: vec![], deltas: vec![delta()] };
    let answers = [
        (gossiped(GossipAnswer::Ack(ack)), format!("0809 00 {DIGEST} 01 {DIGEST} 00 01 {DIGEST} {DELTA}")),
        (gossiped(GossipAnswer::Taken), "0809 01".to_owned()),
        (gossiped(GossipAnswer::Probed(true)), "0809 02 01".to_owned()),
    ];
    for (body, payload) in answers {
        let encoded = encode_response(&response(body.clone()));
        assert_eq!(hex(&encoded.head), format!("8509{HEADER}"), "{body:?}");
        assert_eq!(hex(&encoded.payload), payload.replace(' ', ""), "{body:?}");
        assert_eq!(decode_response(encoded), Ok(response(body)));
    }
}

fn read(wants: Wants) -> Request {
    let as_of = AsOf { now: Timestamp(300), forgotten_before: Timestamp(7) };
    Request::Read { table: TableId(1024), key: "key".into(), as_of, wants }
}

fn get(key: &'static str, wants: Wants) -> Get {
    let as_of = AsOf { now: Timestamp(300), forgotten_before: Timestamp(7) };
    Get { table: TableId(1024), key: key.into(), as_of, wants }
}

/// What a replica holds of five keys.
fn got() -> Response {
    let answers = vec![
        Ok(Answer::Record(Some(Record::plain(Timestamp(9), "value")))),
        Ok(Answer::Record(None)),
        Ok(Answer::Digest(quorum::Digest(300))),
        Err(ReplicaError::TooLargeTogether),
        Ok(Answer::Record(Some(Record::tombstone(Timestamp(1), Timestamp(2))))),
    ];
    Response::Multiget { answers }
}

/// One write was applied, by an owner.
fn written() -> Response {
    Response::Written { results: vec![Ok(Receipt::PLAIN)] }
}

fn page(records: Vec<(Bytes, Record)>, is_whole: bool) -> Response {
    Response::Page(ReplicaPage { records, is_whole })
}

/// As a mutation: length of the key, key, length of the record, record.
const RECORD_OF_PAGE: &str = "076b657907100976616c7565";

#[test]
fn requests_are_these_bytes() {
    let mutation_of = |table| (TableId(table), Mutation::single("key", Record::plain(Timestamp(9), "value")));
    let write = |relay| Request::Write {
        writes: vec![mutation_of(1024), mutation_of(1025)].into(),
        relay,
        must_win: vec![false, true],
    };
    let forward = Relay::Forward { to: vec![host(1), host(2)], ticket: 300 };
    let acknowledge = Relay::Acknowledge { coordinator: host(1), ticket: 300 };
    let hosts = ["1000000000000000000000000000000001", "1000000000000000000000000000000002"];
    let forwarded = format!("0102{}{}ac02020001", hosts[0], hosts[1]);
    let acknowledged = format!("02{}ac02020001", hosts[0]);
    let repair = Request::Repair {
        table: TableId(1024),
        mutations: vec![Mutation::single("key", Record::plain(Timestamp(9), "value")); 2],
    };
    let scan = |from: &'static str, until: Option<&'static str>| Request::Scan {
        table: TableId(1024),
        range: KeyRange { from: from.into(), until: until.map(Bytes::from) },
        now: Timestamp(300),
        limits: PageLimits { items: 100, bytes: 200, tombstones: 3 },
    };
    let mutation = concat!("07", "6b6579", "07", "10", "09", "76616c7565");
    let hints = Request::Hints { hints: vec![mutation_of(1024), mutation_of(1025)] };
    let of_two_tables = &*format!("00040000{mutation}01040000{mutation}");
    let golden = [
        (Request::Exchange(exchange()), "0109", "", EXCHANGE),
        (Request::Shadow, "0a09", "", ""),
        (Request::Schema { facts: vec![table()] }, "0409", "", TABLE),
        (
            Request::Write { writes: Arc::default(), relay: Relay::None, must_win: Vec::new() },
            "0209",
            "0000",
            "",
        ),
        (write(Relay::None), "0209", "00020001", of_two_tables),
        (write(forward), "0209", &*forwarded, of_two_tables),
        (write(acknowledge), "0209", &*acknowledged, of_two_tables),
        (
            Request::Acknowledge {
                ticket: 300,
                results: vec![Ok(Receipt::PLAIN), Err(ReplicaError::Expired)],
            },
            "0809",
            "ac02020001000101",
            "",
        ),
        (read(Wants::Record), "0309", "8008ac020700", "6b6579"),
        (read(Wants::Digest), "0309", "8008ac020701", "6b6579"),
        (Request::Multiget { gets: Vec::new() }, "0b09", "00", ""),
        (
            Request::Multiget { gets: vec![get("key", Wants::Record), get("", Wants::Digest)] },
            "0b09",
            "028008ac020700038008ac02070100",
            "6b6579",
        ),
        (repair, "0709", "8008", &mutation.repeat(2)),
        (scan("key", None), "0909", "8008ac0264c801030300", "6b6579"),
        (scan("key", Some("kez")), "0909", "8008ac0264c801030301", "6b65796b657a"),
        (Request::Hints { hints: Vec::new() }, "0609", "", ""),
        (hints, "0609", "", of_two_tables),
    ];
    for (body, verb, fields, payload) in golden {
        let encoded = encode_request(&request(body.clone()));
        assert_eq!(hex(&encoded.head), format!("{verb}{HEADER}{fields}"), "{body:?}");
        assert_eq!(hex(&encoded.payload), payload, "{body:?}");
        assert_eq!(decode_request(encoded), Ok(request(body)));
    }
}

#[test]
fn answers_are_these_bytes() {
    let tombstone = Record::tombstone(Timestamp(1), Timestamp(2));
    let expiring = Record::expiring(Timestamp(1), "v", Timestamp(2));
    let grant = Grant { bytes: 16 << 10, pause: Duration::new(1, 1_000_000_000 - 1) };
    let text = |text: &str| text.to_owned();
    let golden = [
        (Response::Exchange(exchange()), "8109", "", EXCHANGE),
        (Response::Shadow { cluster_id: None }, "8a09", "00", ""),
        (
            Response::Shadow { cluster_id: Some(ClusterId(Uuid::from_u128(1))) },
            "8a09",
            "011000000000000000000000000000000001",
            "",
        ),
        (Response::Schema { facts: vec![table()] }, "8409", "", TABLE),
        (Response::Written { results: vec![] }, "8209", "00", ""),
        (written(), "8209", "01000100", ""),
        (
            Response::Written {
                results: vec![
                    Ok(Receipt { is_owner: false, newer: Some(Timestamp(300)) }),
                    Err(ReplicaError::ClockSkew),
                    Ok(Receipt::PLAIN),
                ],
            },
            "8209",
            "03000001ac020104000100",
            "",
        ),
        (Response::Record(None), "8309", "", ""),
        (Response::Record(Some(tombstone)), "8309", "", "12010200000000000000"),
        (Response::Record(Some(expiring)), "8309", "", "1101020000000000000076"),
        (Response::Digest(quorum::Digest(300)), "8709", "ac02", ""),
        (Response::Hinted { applied: 300, grant }, "8609", "ac0280800101ff93ebdc03", ""),
        (Response::Noted, "8809", "", ""),
        (Response::Multiget { answers: Vec::new() }, "8b09", "00", ""),
        (got(), "8b09", "050000070000000001ac02010b00000a", "100976616c756512010200000000000000"),
        (page(Vec::new(), true), "8909", "01", ""),
        (
            page(vec![("key".into(), Record::plain(Timestamp(9), "value"))], false),
            "8909",
            "00",
            RECORD_OF_PAGE,
        ),
        (Response::Failed(ReplicaError::Overloaded(text("q"))), "ff09", "000171", ""),
        (Response::Failed(ReplicaError::Expired), "ff09", "01", ""),
        (Response::Failed(ReplicaError::WrongTarget), "ff09", "02", ""),
        (Response::Failed(ReplicaError::NoSuchTable(7)), "ff09", "0307", ""),
        (Response::Failed(ReplicaError::ClockSkew), "ff09", "04", ""),
        (Response::Failed(ReplicaError::NotServing(text("n"))), "ff09", "05016e", ""),
        (Response::Failed(ReplicaError::Unsupported { verb: 9, version: 8 }), "ff09", "060908", ""),
        (Response::Failed(ReplicaError::Storage(text("s"))), "ff09", "070173", ""),
        (Response::Failed(ReplicaError::StorageFull(text("f"))), "ff09", "080166", ""),
        (Response::Failed(ReplicaError::Removed), "ff09", "09", ""),
        (Response::Failed(ReplicaError::OtherCluster), "ff09", "0a", ""),
        (Response::Failed(ReplicaError::TooLargeTogether), "ff09", "0b", ""),
    ];
    for (body, verb, fields, payload) in golden {
        let encoded = encode_response(&response(body.clone()));
        assert_eq!(hex(&encoded.head), format!("{verb}{HEADER}{fields}"), "{body:?}");
        assert_eq!(hex(&encoded.payload), payload, "{body:?}");
        assert_eq!(decode_response(encoded), Ok(response(body)));
    }
}

/// The encoding of a read, its head changed by the test.
fn read_with_head(change: impl FnOnce(&mut Vec<u8>)) -> Encoded {
    let Encoded { head, payload } = encode_request(&request(read(Wants::Record)));
    let mut head = head.to_vec();
    change(&mut head);
    Encoded { head: head.into(), payload }
}

#[test]
fn a_verb_or_version_of_a_later_build_can_be_answered_because_its_header_is_readable() {
    let unsupported = |verb, version| WireError::Unsupported { verb, version, header: Box::new(header()) };
    assert_eq!(decode_request(read_with_head(|head| head[0] = 0x42)), Err(unsupported(0x42, 9)));
    assert_eq!(decode_request(read_with_head(|head| head[1] = 10)), Err(unsupported(3, 10)));
    assert_eq!(decode_response(read_with_head(|_| {})), Err(unsupported(3, 9)), "a request is no answer");
    let with_unreadable_fields = read_with_head(|head| {
        head[1] = 10;
        head.extend([0xFF; 20]);
    });
    assert_eq!(decode_request(with_unreadable_fields), Err(unsupported(3, 10)));
}

#[test]
fn a_header_that_a_later_build_has_extended_is_read() {
    let extended = read_with_head(|head| {
        let (end, no_steps, added) = (4 + 0x2d, 0, [1, 2, 3]);
        head[2] += 4;
        head.splice(end..end, [&[no_steps][..], &added].concat());
    });
    assert_eq!(decode_request(extended).unwrap().header, header());
}

#[test]
fn a_traffic_class_of_a_later_build_is_queued_as_a_request() {
    let class_at = 4 + 17 + 2 + 18 + 2;
    let control = decode_request(read_with_head(|head| head[class_at] = 0)).unwrap();
    assert_eq!(control.header.class, TrafficClass::Control);
    let unknown = decode_request(read_with_head(|head| head[class_at] = 99)).unwrap();
    assert_eq!(unknown.header.class, TrafficClass::Request);
}

#[test]
fn a_record_kind_of_a_later_build_is_unsupported_not_damage() {
    let encoded = encode_response(&response(Response::Record(Some(Record::plain(Timestamp(1), "v")))));
    let mut payload = encoded.payload.to_vec();
    payload[0] = 77;
    let encoded = Encoded { payload: payload.into(), ..encoded };
    assert!(matches!(decode_response(encoded), Err(WireError::Unsupported { verb: 0x83, version: 9, .. })));
}

#[test]
fn bytes_too_few_or_too_many_are_malformed() {
    let cases = [
        decode_request(read_with_head(|head| head.push(0))).unwrap_err(),
        decode_request(read_with_head(|head| head[3] = 0xFF)).unwrap_err(),
        decode_request(read_with_head(|head| head[2] -= 1)).unwrap_err(),
    ];
    for error in cases {
        assert!(matches!(error, WireError::Malformed(_)), "{error}");
    }
    let with_payload = |body, payload: &'static [u8]| {
        let encoded = encode_response(&response(body));
        let payload = [encoded.payload.as_ref(), payload].concat().into();
        decode_response(Encoded { payload, ..encoded })
    };
    let record = || Response::Record(Some(Record::tombstone(Timestamp(1), Timestamp(1))));
    for body in [written(), Response::Failed(ReplicaError::Expired), record(), got()] {
        assert!(matches!(with_payload(body, b"x"), Err(WireError::Malformed(_))));
    }
    assert!(with_payload(record(), b"").is_ok() && with_payload(got(), b"").is_ok());
    let shortened =
        |Encoded { head, payload }: Encoded| Encoded { head, payload: payload.slice(..payload.len() - 1) };
    let answers = shortened(encode_response(&response(got())));
    assert!(matches!(decode_response(answers), Err(WireError::Malformed(_))));
    let gets = Request::Multiget { gets: vec![get("key", Wants::Record), get("other key", Wants::Digest)] };
    let encoded = encode_request(&request(gets));
    let payload = [encoded.payload.as_ref(), b"x"].concat().into();
    let longer = Encoded { payload, ..encoded.clone() };
    for damaged in [shortened(encoded), longer] {
        assert!(matches!(decode_request(damaged), Err(WireError::Malformed(_))));
    }
}

#[test]
fn values_are_slices_of_what_was_read() {
    let value = Bytes::from(vec![7; 1000]);
    let mutation = Mutation::single("key", Record::plain(Timestamp(9), value));
    let body = Request::Write {
        writes: vec![(TableId(1024), mutation)].into(),
        relay: Relay::None,
        must_win: Vec::new(),
    };
    let encoded = encode_request(&request(body));
    let buffer = encoded.payload.as_ptr_range();
    let Request::Write { writes, .. } = decode_request(encoded.clone()).unwrap().body else { panic!() };
    let (_, mutation) = &writes[0];
    assert!(buffer.contains(&mutation.key.as_ptr()));
    assert!(buffer.contains(&mutation.rows[0].1.value().unwrap().as_ptr()));
}

fn step(after_us: u64, what: impl Into<String>) -> Step {
    Step { after_us, what: what.into() }
}

/// What was decoded of an answer whose header tells of these steps.
fn steps_of(steps: Vec<Step>) -> Vec<Step> {
    let told = Message { header: Header { steps, ..header() }, body: written() };
    decode_response(encode_response(&told)).expect("bytes of this build").header.steps
}

#[test]
fn steps_take_room_only_in_the_answers_that_tell_any() {
    let answer = |steps| Message { header: Header { steps, ..header() }, body: written() };

    assert_eq!(hex(&encode_response(&answer(vec![])).head), format!("8209{HEADER}01000100"));
    let told = encode_response(&answer(vec![step(300, "x")]));
    assert_eq!(hex(&told.head), format!("8209{}{}01ac02017801000100", "3200", &HEADER[4..]));
}

#[test]
fn steps_beyond_their_bounds_are_cut() {
    let long = "é".repeat(MAX_STEP_BYTES);
    let many: Vec<Step> = (0..100).map(|at| step(at, long.clone())).collect();

    let few: Vec<Step> = (0..MAX_STEPS as u64).map(|at| step(at, "é".repeat(MAX_STEP_BYTES / 2))).collect();
    assert_eq!(steps_of(many), few);
    assert_eq!(
        steps_of(vec![step(1, format!("x{long}"))])[0].what.len(),
        MAX_STEP_BYTES - 1,
        "no half letter"
    );
}

/// The sender need not keep to the bounds.
#[test]
fn steps_that_a_peer_tells_beyond_their_bounds_are_cut() {
    let steps = 20;
    let told = [&[steps][..], &[7, 1, b'x'].repeat(usize::from(steps))].concat();
    let with = |told: &[u8]| {
        let header = &HEADER.as_bytes()[4..];
        let header =
            header.chunks(2).map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
        let header: Vec<u8> = header.chain(told.iter().copied()).collect();
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        let head = [&[0x82, 9][..], &length, &header, &[1, 0, 1, 0]].concat();
        decode_response(Encoded { head: head.into(), payload: Bytes::new() })
    };

    assert_eq!(with(&told).unwrap().header.steps, vec![step(7, "x"); MAX_STEPS]);
    for damaged in [&told[..told.len() - 1], &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &[1, 7, 1, 0xFF]] {
        assert!(matches!(with(damaged), Err(WireError::Malformed(_))), "{damaged:?}");
    }
}

/// A length that promises a billion members, tokens or bytes of text must not be believed.
#[test]
fn a_length_beyond_the_message_is_malformed() {
    let encoded = encode_request(&request(Request::Exchange(exchange())));
    for at in [18, 18 + 1 + 17 + 2 + 1, 18 + 1 + 17 + 2 + 1 + 4 + 2 + 2 + 1] {
        let mut payload = BytesMut::from(&encoded.payload[..at]);
        payload.put_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        payload.put_slice(&encoded.payload[at + 1..]);
        let damaged = Encoded { payload: payload.freeze(), ..encoded.clone() };
        assert!(matches!(decode_request(damaged), Err(WireError::Malformed(_))), "at {at}");
    }
}

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn records() -> impl Strategy<Value = Record> {
    (any::<u64>(), any::<u64>(), bytes(), 0..3).prop_map(|(at, end, value, kind)| match kind {
        0 => Record::plain(Timestamp(at), value),
        1 => Record::expiring(Timestamp(at), value, Timestamp(end)),
        _ => Record::tombstone(Timestamp(at), Timestamp(end)),
    })
}

fn headers() -> impl Strategy<Value = Header> {
    let ids = (uuids(), prop::option::of(uuids()), any::<u64>(), any::<u64>(), any::<u64>());
    let steps = prop::collection::vec((any::<u64>(), ".{0,30}").prop_map(|(at, what)| step(at, what)), 0..4);
    (ids, any::<bool>(), any::<u64>(), any::<u64>(), any::<Option<(u64, bool)>>(), steps).prop_map(
        |(
            (sender, target, generation, ring_version, schema_version),
            control,
            remaining,
            timestamp,
            client_request,
            steps,
        )| {
            Header {
                sender: HostId(sender),
                generation: Generation(generation),
                target: target.map(HostId),
                ring_version,
                schema_version,
                class: if control { TrafficClass::Control } else { TrafficClass::Request },
                remaining: Duration::from_micros(remaining),
                timestamp: Timestamp(timestamp),
                client_request: client_request.map(|(id, is_traced)| ClientRequest { id, is_traced }),
                steps,
            }
        },
    )
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let tokens = prop::collection::vec(any::<i64>(), 0..5);
    let member = (uuids(), any::<u64>(), any::<u64>(), ".*", any::<bool>(), tokens).prop_map(
        |(id, generation, version, text, is_normal, tokens)| Member {
            host_id: HostId(id),
            generation: Generation(generation),
            version,
            address: text.clone(),
            datacenter: text.clone(),
            rack: text,
            state: if is_normal { MemberState::Normal } else { MemberState::Joining },
            tokens,
        },
    );
    let lists = (prop::collection::vec(member, 0..4), facts());
    (prop::option::of(uuids()), lists, any::<bool>()).prop_map(|(id, (members, tables), has_user_records)| {
        Exchange { cluster_id: id.map(ClusterId), members, tables, has_user_records }
    })
}

fn digests() -> impl Strategy<Value = Vec<Digest>> {
    let counters = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let digest = (uuids(), any::<bool>(), counters).prop_map(
        |(id, removed, (generation, heartbeat, described, told))| Digest {
            host_id: HostId(id),
            removed,
            generation: Generation(generation),
            heartbeat,
            described,
            told,
        },
    );
    prop::collection::vec(digest, 0..4)
}

fn deltas() -> impl Strategy<Value = Vec<Delta>> {
    let facts = prop::collection::vec((any::<u16>(), any::<u64>(), bytes()), 0..4);
    (digests(), exchanges(), any::<u64>(), facts).prop_map(|(digests, exchange, after, facts)| {
        let facts = facts
            .into_iter()
            .map(|(tag, version, bytes)| (Tag(tag), Fact { version, bytes: bytes.to_vec() }));
        let facts: Vec<(Tag, Fact)> = facts.collect();
        let descriptions =
            exchange.members.into_iter().map(Arc::new).map(Some).chain(std::iter::repeat(None));
        let deltas = digests.into_iter().zip(descriptions);
        deltas
            .map(|(digest, description)| Delta { digest, description, after, facts: facts.clone() })
            .collect()
    })
}

fn gossips() -> impl Strategy<Value = Gossip> {
    prop_oneof![
        (uuids(), uuids(), digests()).prop_map(|(from, to, digests)| {
            Gossip::Syn(Syn { span: Span { from: HostId(from), to: HostId(to) }, digests })
        }),
        deltas().prop_map(Gossip::Ack2),
        uuids().prop_map(|id| Gossip::Probe(HostId(id))),
    ]
}

fn gossip_answers() -> impl Strategy<Value = GossipAnswer> {
    prop_oneof![
        (digests(), digests(), deltas()).prop_map(|(wanted, younger, deltas)| {
            GossipAnswer::Ack(Ack { own: digest(), wanted, younger, deltas })
        }),
        Just(GossipAnswer::Taken),
        any::<bool>().prop_map(GossipAnswer::Probed),
    ]
}

fn facts() -> impl Strategy<Value = Vec<Table>> {
    let replication = prop_oneof![
        any::<u32>().prop_map(|factor| Replication::Simple { factor }),
        prop::collection::btree_map(".*", any::<u32>(), 0..3)
            .prop_map(|factors| Replication::NetworkTopology { factors }),
    ];
    let definition = (replication, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(replication, count, default_ttl_seconds, tombstone_grace_seconds)| Definition {
            default_read_consistency: Consistency::Count(count),
            default_write_consistency: Consistency::EachQuorum,
            default_ttl_seconds,
            tombstone_grace_seconds,
            ..Definition::replicated(replication)
        },
    );
    let table = (".*", any::<u32>(), definition, any::<u64>(), any::<bool>()).prop_map(
        |(name, incarnation, definition, version, is_dropped)| Table {
            name,
            incarnation,
            definition,
            version,
            is_dropped,
        },
    );
    prop::collection::vec(table, 0..4)
}

fn relays() -> impl Strategy<Value = Relay> {
    prop_oneof![
        Just(Relay::None),
        (prop::collection::vec(any::<u128>().prop_map(host), 0..4), any::<u64>())
            .prop_map(|(to, ticket)| Relay::Forward { to, ticket }),
        (any::<u128>().prop_map(host), any::<u64>())
            .prop_map(|(coordinator, ticket)| Relay::Acknowledge { coordinator, ticket }),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let rows = || prop::collection::vec((bytes(), records()), 1..4);
    prop_oneof![
        gossips().prop_map(gossip),
        Just(Request::Shadow),
        exchanges().prop_map(Request::Exchange),
        facts().prop_map(|facts| Request::Schema { facts }),
        (of_tables(), relays(), prop::collection::vec(any::<bool>(), 0..4))
            .prop_map(|(writes, relay, must_win)| Request::Write { writes: writes.into(), relay, must_win }),
        (any::<u64>(), results()).prop_map(|(ticket, results)| Request::Acknowledge { ticket, results }),
        (any::<u32>(), prop::collection::vec((bytes(), rows()), 0..3)).prop_map(|(table, mutations)| {
            let mutations = mutations.into_iter().map(|(key, rows)| Mutation { key, rows }).collect();
            Request::Repair { table: TableId(table), mutations }
        }),
        (any::<u32>(), bytes(), prop::option::of(bytes()), any::<[u32; 3]>(), any::<u64>()).prop_map(
            |(table, from, until, [items, bytes, tombstones], now)| Request::Scan {
                table: TableId(table),
                range: KeyRange { from, until },
                now: Timestamp(now),
                limits: PageLimits { items, bytes, tombstones },
            },
        ),
        (any::<u32>(), bytes(), any::<(u64, u64)>(), any::<bool>()).prop_map(
            |(table, key, (now, forgotten_before), is_digest)| Request::Read {
                table: TableId(table),
                key,
                as_of: AsOf { now: Timestamp(now), forgotten_before: Timestamp(forgotten_before) },
                wants: if is_digest { Wants::Digest } else { Wants::Record },
            },
        ),
        of_tables().prop_map(|hints| Request::Hints { hints }),
        prop::collection::vec(gets(), 0..4).prop_map(|gets| Request::Multiget { gets }),
    ]
}

fn gets() -> impl Strategy<Value = Get> {
    (any::<u32>(), bytes(), any::<(u64, u64)>(), any::<bool>()).prop_map(
        |(table, key, (now, forgotten_before), is_digest)| Get {
            table: TableId(table),
            key,
            as_of: AsOf { now: Timestamp(now), forgotten_before: Timestamp(forgotten_before) },
            wants: if is_digest { Wants::Digest } else { Wants::Record },
        },
    )
}

fn results() -> impl Strategy<Value = Vec<Applied>> {
    let applied = prop_oneof![
        (any::<bool>(), prop::option::of(any::<u64>()))
            .prop_map(|(is_owner, newer)| Ok(Receipt { is_owner, newer: newer.map(Timestamp) })),
        Just(Err(ReplicaError::ClockSkew)),
        ".*".prop_map(|text| Err(ReplicaError::Storage(text))),
    ];
    prop::collection::vec(applied, 0..4)
}

fn answers() -> impl Strategy<Value = Vec<Got>> {
    let answer = prop_oneof![
        prop::option::of(records()).prop_map(|record| Ok(Answer::Record(record))),
        any::<u128>().prop_map(|digest| Ok(Answer::Digest(quorum::Digest(digest)))),
        Just(Err(ReplicaError::TooLargeTogether)),
        ".*".prop_map(|text| Err(ReplicaError::Storage(text))),
    ];
    prop::collection::vec(answer, 0..4)
}

fn of_tables() -> impl Strategy<Value = Vec<(TableId, Mutation)>> {
    let rows = prop::collection::vec((bytes(), records()), 1..4);
    let mutation = (any::<u32>(), bytes(), rows);
    let of_table = mutation.prop_map(|(table, key, rows)| (TableId(table), Mutation { key, rows }));
    prop::collection::vec(of_table, 0..4)
}

fn responses() -> impl Strategy<Value = Response> {
    prop_oneof![
        exchanges().prop_map(Response::Exchange),
        gossip_answers().prop_map(gossiped),
        facts().prop_map(|facts| Response::Schema { facts }),
        results().prop_map(|results| Response::Written { results }),
        answers().prop_map(|answers| Response::Multiget { answers }),
        prop::option::of(records()).prop_map(Response::Record),
        Just(Response::Noted),
        (prop::collection::vec((bytes(), records()), 0..4), any::<bool>())
            .prop_map(|(records, is_whole)| Response::Page(ReplicaPage { records, is_whole })),
        any::<u128>().prop_map(|digest| Response::Digest(quorum::Digest(digest))),
        (any::<u32>(), any::<u32>(), 0..1_000_000_000_u32).prop_map(|(applied, bytes, nanos)| {
            Response::Hinted { applied, grant: Grant { bytes, pause: Duration::new(7, nanos) } }
        }),
        ".*".prop_map(|text| Response::Failed(ReplicaError::Storage(text))),
        ".*".prop_map(|text| Response::Failed(ReplicaError::StorageFull(text))),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_as_they_were(header in headers(), body in requests()) {
        let message = Message { header, body };
        prop_assert_eq!(decode_request(encode_request(&message)), Ok(message));
    }

    #[test]
    fn answers_come_back_as_they_were(header in headers(), body in responses()) {
        let message = Message { header, body };
        prop_assert_eq!(decode_response(encode_response(&message)), Ok(message));
    }

    #[test]
    fn no_bytes_make_it_panic(head in bytes(), payload in bytes()) {
        let _ = decode_request(Encoded { head: head.clone(), payload: payload.clone() });
        let _ = decode_response(Encoded { head, payload });
    }

    #[test]
    fn no_damage_makes_it_panic(
        body in requests(),
        flips in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let Encoded { head, payload } = encode_request(&request(body));
        let (mut head, mut payload) = (head.to_vec(), payload.to_vec());
        for (in_head, at, byte) in flips {
            let part = if in_head || payload.is_empty() { &mut head } else { &mut payload };
            let at = at.index(part.len());
            part[at] = byte;
        }
        let damaged = Encoded { head: head.into(), payload: payload.into() };
        let _ = decode_request(damaged.clone());
        let _ = decode_response(damaged);
    }
}
