//! Histories told by hand: `story.write(0, 10, 1).ok(100)` is a write of v1 from 0 to 10 ms, acknowledged @100.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the vocabulary")]

use helenus_bench::history::{
    Acknowledgement, Action, Datacenter, FORMAT, Fault, FaultEvent, Header, History, Level, Moment,
    Operation, Outcome, Phase, Seen, Timestamp, ValueId,
};

/// A history of one key, `k`, unless said otherwise.
pub struct Story(History);

/// The operation that is being told.
pub struct Told<'a>(&'a mut Operation);

impl Story {
    /// Three nodes, factor 3.
    pub fn new() -> Self {
        Self::of(3, 3)
    }

    pub fn of(nodes: u32, factor: u32) -> Self {
        Self(History::new(Header {
            format: FORMAT,
            seed: 7,
            version: "by hand".to_owned(),
            nodes,
            factor,
            datacenters: Vec::new(),
            deadline_us: 2_000_000,
            tombstone_grace_us: 864_000_000_000,
        }))
    }

    /// n1 to n3 and n4 to n6, with three replicas of each key on each side.
    pub fn in_two_datacenters() -> Self {
        let mut story = Self::of(6, 6);
        story.0.header.datacenters = vec![
            Datacenter { nodes: vec![1, 2, 3], factor: 3 },
            Datacenter { nodes: vec![4, 5, 6], factor: 3 },
        ];
        story
    }

    pub fn write(&mut self, from_ms: u64, to_ms: u64, value: u64) -> Told<'_> {
        self.write_stamped(from_ms, to_ms, value, None)
    }

    pub fn write_stamped(&mut self, from_ms: u64, to_ms: u64, value: u64, stamp: Option<u64>) -> Told<'_> {
        let client_timestamp = stamp.map(Timestamp);
        self.tell(from_ms, to_ms, Action::Write { value: ValueId(value), ttl_s: None, client_timestamp })
    }

    pub fn write_for(&mut self, from_ms: u64, to_ms: u64, value: u64, ttl_s: u32) -> Told<'_> {
        let action = Action::Write { value: ValueId(value), ttl_s: Some(ttl_s), client_timestamp: None };
        self.tell(from_ms, to_ms, action)
    }

    pub fn delete(&mut self, from_ms: u64, to_ms: u64) -> Told<'_> {
        self.delete_stamped(from_ms, to_ms, None)
    }

    pub fn delete_stamped(&mut self, from_ms: u64, to_ms: u64, stamp: Option<u64>) -> Told<'_> {
        self.tell(from_ms, to_ms, Action::Delete { client_timestamp: stamp.map(Timestamp) })
    }

    pub fn read(&mut self, from_ms: u64, to_ms: u64) -> Told<'_> {
        self.tell(from_ms, to_ms, Action::Read)
    }

    pub fn fault(&mut self, from_ms: u64, until_ms: u64, fault: Fault) {
        self.0.faults.push(FaultEvent {
            fault,
            from: Moment(from_ms * 1000),
            until: Moment(until_ms * 1000),
        });
    }

    fn tell(&mut self, from_ms: u64, to_ms: u64, action: Action) -> Told<'_> {
        let id = self.0.operations.len() as u64;
        self.0.operations.push(Operation {
            id,
            client: u32::try_from(id).expect("few operations"),
            key: "k".to_owned(),
            action,
            level: Level::Quorum,
            coordinator: 1,
            phase: Phase::Disturbed,
            invoked: Moment(from_ms * 1000),
            returned: Moment(to_ms * 1000),
            outcome: Outcome::Unknown,
            timestamp: None,
            seen: None,
            replicas: None,
            session: None,
            detail: None,
        });
        Told(self.0.operations.last_mut().expect("just pushed"))
    }

    pub fn history_mut(&mut self) -> &mut History {
        &mut self.0
    }

    pub fn history(mut self) -> History {
        self.0.sort();
        self.0
    }
}

impl Told<'_> {
    pub fn ok(self, timestamp: u64) -> Self {
        self.0.outcome = Outcome::Ok;
        self.0.timestamp = Some(Timestamp(timestamp));
        self
    }

    pub fn failed(self) -> Self {
        self.0.outcome = Outcome::Failed;
        self.0.detail = Some("503 unavailable".to_owned());
        self
    }

    pub fn unknown(self) -> Self {
        self.0.outcome = Outcome::Unknown;
        self
    }

    pub fn rejected(self) -> Self {
        self.0.outcome = Outcome::Rejected;
        self.0.detail = Some("400 invalid-key".to_owned());
        self
    }

    pub fn sees(self, value: u64, timestamp: u64) -> Self {
        self.saw(Seen::Value { value: ValueId(value), timestamp: Timestamp(timestamp), ttl_left_s: None })
    }

    pub fn sees_expiring(self, value: u64, timestamp: u64, left_s: u64) -> Self {
        let value = ValueId(value);
        self.saw(Seen::Value { value, timestamp: Timestamp(timestamp), ttl_left_s: Some(left_s) })
    }

    pub fn sees_tombstone(self, timestamp: u64) -> Self {
        self.saw(Seen::Tombstone { timestamp: Timestamp(timestamp) })
    }

    pub fn sees_nothing(self) -> Self {
        self.saw(Seen::Absent)
    }

    pub fn saw(self, seen: Seen) -> Self {
        self.0.outcome = Outcome::Ok;
        self.0.seen = Some(seen);
        self
    }

    pub fn level(self, level: Level) -> Self {
        self.0.level = level;
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.0.key = key.to_owned();
        self
    }

    pub fn through(self, node: u32) -> Self {
        self.0.coordinator = node;
        self
    }

    pub fn detail(self, detail: &str) -> Self {
        self.0.detail = Some(detail.to_owned());
        self
    }

    pub fn client(self, client: u32) -> Self {
        self.0.client = client;
        self
    }

    pub fn session(self, session: u64) -> Self {
        self.0.session = Some(session);
        self
    }

    pub fn phase(self, phase: Phase) -> Self {
        self.0.phase = phase;
        self
    }

    pub fn replicas(self, acknowledged: u32, required: u32) -> Self {
        self.0.replicas = Some(Acknowledgement { required, acknowledged });
        self
    }
}
