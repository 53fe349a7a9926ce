//! Scans of the whole table: to the history, each is a read of every key.
//!
//! What a page holds was read between its request and its answer. What no page holds is absent, which is noted of the keys
//! that are never deleted and never expire: so it shows whether one was lost, to the same checkers that judge reads.

use std::collections::BTreeSet;

use bytes::Bytes;
use helenus_bench::history::{Action, Level, Moment, Phase, Seen};
use helenus_cluster::{
    node::{Met, ScanOutcome, ScanRequest},
    partitioning::Partitioner,
    simulation::Reply,
    table::DEFAULT_TABLE,
};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::client::{Clients, Done, Heard, at, seen};

/// Kinds of keys that are only ever written.
const LASTING: [&str; 3] = ["set/", "register/", "hot"];

impl Clients {
    /// Scans everything, each page through another node, and writes down what was read. Ends at the first page that
    /// fails. Where the level is about the coordinator's own datacenter, all nodes are of one: what is acknowledged in one
    /// need not be known in another, and an absent key is booked to one node for all pages.
    pub async fn scan(&self, client: u32, phase: Phase, level: Level, random: &mut Xoshiro256PlusPlus) {
        let limit = [1, 3, 10, 50][random.random_range(0..4)];
        let expected = self.lasting_keys();
        let nodes = self.coordinators_of_a_scan(level, random);
        let begun = self.moment();
        let mut page = None;
        let mut found: Vec<Bytes> = Vec::new();
        let read = loop {
            let coordinator = nodes[random.random_range(0..nodes.len())];
            let invoked = self.moment();
            let reply = self.page(coordinator, level, limit, page).await;
            let returned = self.moment();
            let key = String::new();
            let action = Action::Read;
            let read = Done { client, phase, key, action, level, coordinator, invoked, returned };
            let ScanOutcome { records, now, next, met } = match reply {
                Reply::Answer(Ok(outcome)) => outcome,
                other => {
                    let key = "a page of a scan".to_owned();
                    return self.note(Done { key, ..read }, Heard::not_done(other), None);
                }
            };
            for (key, record) in records {
                let heard = Heard::answered(Some(seen(Some(&record), now)), &met);
                self.note(Done { key: text(&key), ..read.clone() }, heard, None);
                found.push(key);
            }
            match next {
                None => break (read, met),
                next => page = next,
            }
        };
        self.check_order(&found);
        self.note_absent(begun, &expected, &found, read);
    }

    fn coordinators_of_a_scan(&self, level: Level, random: &mut Xoshiro256PlusPlus) -> Vec<u32> {
        let shape = self.cluster.shape();
        let all = 1..=shape.nodes;
        if !matches!(level, Level::LocalOne | Level::LocalQuorum) {
            return all.collect();
        }
        let datacenter = shape.datacenter_of(random.random_range(all.clone()));
        all.filter(|node| shape.datacenter_of(*node) == datacenter).collect()
    }

    /// Those of which a write is acknowledged.
    fn lasting_keys(&self) -> BTreeSet<String> {
        let operations = self.operations.lock();
        let written = operations.iter().filter(|operation| operation.is_ok_write());
        let lasting = written.filter(|operation| LASTING.iter().any(|kind| operation.key.starts_with(kind)));
        lasting.map(|operation| operation.key.clone()).collect()
    }

    async fn page(
        &self,
        coordinator: u32,
        level: Level,
        limit: u32,
        page: Option<Bytes>,
    ) -> Reply<ScanOutcome> {
        let mut options = at(level, None);
        options.timeout = Some(self.cluster.shape().settings.read_timeout);
        let table = DEFAULT_TABLE.to_owned();
        let request = ScanRequest { table, page, limit, options, ..ScanRequest::default() };
        self.cluster.scan(coordinator, request, self.workload.patience).await
    }

    /// No key twice, each behind the one before.
    fn check_order(&self, found: &[Bytes]) {
        let place = |key: &Bytes| (Partitioner::Murmur3.token(key), key.clone());
        if let Some(pair) = found.windows(2).find(|pair| place(&pair[0]) >= place(&pair[1])) {
            let (one, next) = (text(&pair[0]), text(&pair[1]));
            self.cluster.trace().accuse(format!("scan: {next} came after {one} at {}", self.moment()));
        }
    }

    fn note_absent(
        &self,
        begun: Moment,
        expected: &BTreeSet<String>,
        found: &[Bytes],
        (read, met): (Done, Met),
    ) {
        let found: BTreeSet<String> = found.iter().map(text).collect();
        for key in expected.difference(&found) {
            let absent = Heard::answered(Some(Seen::Absent), &met).in_many_pages();
            self.note(Done { key: key.clone(), invoked: begun, ..read.clone() }, absent, None);
        }
    }
}

fn text(key: &Bytes) -> String {
    String::from_utf8_lossy(key).into_owned()
}
