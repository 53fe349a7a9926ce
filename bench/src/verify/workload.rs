//! What the clients do: registers, some of them hot, values that expire, inserts of new keys; at mixed levels, mostly quorum.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use helenus_bench::history::{Action, Level, Phase, Timestamp, ValueId};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256StarStar;

use super::client::Request;

/// Names operations, and with them values, uniquely in a run.
#[derive(Debug, Default)]
pub(super) struct Names(AtomicU64);

impl Names {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The keys that are written again and again.
pub(super) fn shared_keys(keys: u32) -> Vec<String> {
    let registers = (0..keys).map(|number| format!("register/{number}"));
    registers.chain((0..expiring(keys)).map(|number| format!("expiring/{number}"))).collect()
}

fn expiring(keys: u32) -> u32 {
    keys / 8 + 1
}

/// Registers that take a third of the traffic.
const HOT: u32 = 5;

/// How many of its latest inserts a client reads again.
const REMEMBERED: usize = 50;

/// One client's stream of operations.
pub(super) struct Workload {
    random: Xoshiro256StarStar,
    client: u32,
    nodes: u32,
    keys: u32,
    inserts: u64,
    latest: VecDeque<String>,
}

impl Workload {
    pub(super) fn new(seed: u64, client: u32, nodes: u32, keys: u32) -> Self {
        let random = Xoshiro256StarStar::seed_from_u64(seed ^ u64::from(client).rotate_left(32));
        Self { random, client, nodes, keys, inserts: 0, latest: VecDeque::new() }
    }

    /// The keys that this client has inserted.
    pub(super) fn inserted(&self) -> impl Iterator<Item = String> + use<> {
        let client = self.client;
        (0..self.inserts).map(move |number| format!("insert/{client}-{number}"))
    }

    /// What the client does next.
    pub(super) fn next(&mut self, names: &Names) -> Request {
        let id = names.next();
        let (key, action) = match self.random.random_range(0..100) {
            0..60 => self.register(id),
            60..75 => self.expiring(id),
            75..90 => self.insert(id),
            _ => self.read_insert(id),
        };
        let level = self.level();
        let coordinator = self.random.random_range(1..=self.nodes);
        Request { id, key, action, level, coordinator, phase: Phase::Disturbed }
    }

    fn register(&mut self, id: u64) -> (String, Action) {
        let hot = self.random.random_bool(0.3);
        let number = self.random.random_range(0..if hot { HOT.min(self.keys) } else { self.keys });
        let client_timestamp = self.random.random_bool(0.03).then(|| self.skewed_clock());
        let action = match self.random.random_range(0..10) {
            0..5 => Action::Read,
            5..9 => Action::Write { value: ValueId(id), ttl_s: None, client_timestamp },
            _ => Action::Delete { client_timestamp },
        };
        (format!("register/{number}"), action)
    }

    fn expiring(&mut self, id: u64) -> (String, Action) {
        let number = self.random.random_range(0..expiring(self.keys));
        let ttl_s = Some(self.random.random_range(1..=5));
        let action = match self.random.random_range(0..10) {
            0..5 => Action::Read,
            5..8 => Action::Write { value: ValueId(id), ttl_s, client_timestamp: None },
            8 => Action::Write { value: ValueId(id), ttl_s: None, client_timestamp: None },
            _ => Action::Delete { client_timestamp: None },
        };
        (format!("expiring/{number}"), action)
    }

    fn insert(&mut self, id: u64) -> (String, Action) {
        let key = format!("insert/{}-{}", self.client, self.inserts);
        self.inserts += 1;
        self.latest.push_back(key.clone());
        if self.latest.len() > REMEMBERED {
            self.latest.pop_front();
        }
        (key, Action::Write { value: ValueId(id), ttl_s: None, client_timestamp: None })
    }

    fn read_insert(&mut self, id: u64) -> (String, Action) {
        match self.latest.len() {
            0 => self.insert(id),
            count => (self.latest[self.random.random_range(0..count)].clone(), Action::Read),
        }
    }

    fn level(&mut self) -> Level {
        match self.random.random_range(0..100) {
            0..80 => Level::Quorum,
            80..88 => Level::One,
            88..92 => Level::Count(2),
            92..96 => Level::Two,
            _ => Level::All,
        }
    }

    /// The clock of a client whose clock is up to five seconds off.
    fn skewed_clock(&mut self) -> Timestamp {
        let skew = Duration::from_micros(self.random.random_range(0..10_000_000));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shifted = (now + skew).saturating_sub(Duration::from_secs(5));
        Timestamp(u64::try_from(shifted.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_depends_on_seed_and_client_and_has_a_bit_of_everything() {
        let stream = |seed, client| {
            let names = Names::default();
            let mut workload = Workload::new(seed, client, 5, 20);
            let requests: Vec<Request> = (0..2_000).map(|_| workload.next(&names)).collect();
            (requests, workload)
        };
        let shape = |requests: &[Request]| {
            requests.iter().map(|request| (request.key.clone(), request.level)).collect::<Vec<_>>()
        };
        let (requests, workload) = stream(1, 1);
        assert_eq!(shape(&requests), shape(&stream(1, 1).0));
        assert_ne!(shape(&requests), shape(&stream(1, 2).0));
        assert_ne!(shape(&requests), shape(&stream(2, 1).0));

        for kind in ["write", "write-ttl", "delete", "read"] {
            assert!(requests.iter().any(|request| request.action.kind() == kind), "{kind}");
        }
        let mut known = shared_keys(20);
        known.extend(workload.inserted());
        assert!(requests.iter().all(|request| known.contains(&request.key)));
        assert!((1..=5).all(|node| requests.iter().any(|request| request.coordinator == node)));
    }
}
