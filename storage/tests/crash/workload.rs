//! Seeded workloads: several tables, overwrites, deletions and expiring records, old timestamps among new ones,
//! and all kinds of background work in between.

use bytes::Bytes;
use helenus_storage::{Mutation, Options, Record, Step, SyncMode, TableId, TableOptions, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Sizes so small that segments rotate, memtables are flushed and tables merged every few mutations.
pub(crate) fn options(sync_mode: SyncMode) -> Options {
    Options {
        sync_mode,
        segment_bytes: 8 << 10,
        memtable_bytes: 4 << 10,
        commit_log_bytes: 32 << 10,
        block_bytes: 512,
        restart_interval: 4,
        table: TableOptions::tiered(2),
        merge_max_tables: 4,
        ..Options::default()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    CreateTable(TableId),
    DropTable(TableId),
    Apply(Vec<(TableId, Mutation)>),
    Step(Step),
    SwitchMemtables,
}

const KEYS: u64 = 20;

/// The actions of a seed.
pub(crate) fn actions(seed: u64, length: usize) -> Vec<Action> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut actions = vec![Action::CreateTable(TableId(1)), Action::CreateTable(TableId(7))];
    let mut tables = vec![TableId(1), TableId(7)];
    for number in 0..length {
        if number == length / 3 {
            tables.push(TableId(3));
            actions.push(Action::CreateTable(TableId(3)));
        }
        if number == length / 2 {
            tables.retain(|table| *table != TableId(7));
            actions.push(Action::DropTable(TableId(7)));
        }
        actions.push(match random.random_range(0..100) {
            0..58 => Action::Apply(batch(number as u64, &tables, &mut random)),
            58..79 => Action::Step(Step::Commit),
            79..82 => Action::Step(Step::Prepare),
            82..85 => Action::Step(Step::Sync),
            85..91 => Action::Step(Step::Flush),
            91..97 => Action::Step(Step::Compact),
            _ => Action::SwitchMemtables,
        });
    }
    // A group is bounded, so the rest may take several.
    actions.extend(std::iter::repeat_n(Action::Step(Step::Commit), 20));
    actions.push(Action::Step(Step::Sync));
    actions
}

/// Mostly one mutation; sometimes several, of any tables, that happen together.
fn batch(number: u64, tables: &[TableId], random: &mut Xoshiro256PlusPlus) -> Vec<(TableId, Mutation)> {
    let count = if random.random_bool(0.15) { random.random_range(2..5) } else { 1 };
    let mut one = |place| {
        let table = tables[random.random_range(0..tables.len())];
        (table, mutation(number << 3 | place, random))
    };
    (0..count).map(&mut one).collect()
}

/// A mutation whose timestamp no other has, so that a record tells which mutation it came with. Timestamps rise
/// on the whole, but a mutation may be older than the forty before it.
fn mutation(number: u64, random: &mut Xoshiro256PlusPlus) -> Mutation {
    let timestamp = Timestamp((number + random.random_range(0..320)) << 16 | number);
    let key = format!("key{:02}", random.random_range(0..KEYS));
    let rows = match random.random_range(0..4) {
        0 => (0..random.random_range(2..4))
            .map(|column| (format!("/{column}").into(), record(timestamp, random))),
        _ => return Mutation::single(key, record(timestamp, random)),
    };
    Mutation { key: key.into(), rows: rows.collect() }
}

fn record(timestamp: Timestamp, random: &mut Xoshiro256PlusPlus) -> Record {
    let end = Timestamp(timestamp.0 + random.random_range(0..1 << 20));
    let length = match random.random_range(0..20) {
        0 => 0,
        1 => random.random_range(1_000..2_500),
        _ => random.random_range(1..200),
    };
    // Half of the values compress, half do not.
    let noisy = random.random_bool(0.5);
    let first: u8 = random.random();
    let value: Bytes = (0..length).map(|_| if noisy { random.random() } else { first }).collect();
    match random.random_range(0..6) {
        0 | 1 => Record::tombstone(timestamp, end),
        2 => Record::expiring(timestamp, value, end),
        _ => Record::plain(timestamp, value),
    }
}
