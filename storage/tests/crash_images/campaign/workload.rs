//! Seeded workloads: engines so small that everything happens soon, several tables, one of which is dropped, overwrites,
//! deletions and expiring records, old timestamps among new ones, a clock that lets merges purge, all kinds of
//! background work, cancelled merges, snapshots, restarts and power cuts.

use std::time::Duration;

use bytes::Bytes;
use helenus_storage::{
    Mutation, Options, Record, Step, SyncMode, TableId, TableOptions, Timestamp, disk::Damage,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) options: Options,
    pub(crate) actions: Vec<Action>,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    CreateTable(TableId),
    DropTable(TableId),
    /// Several mutations happen together.
    Apply(Vec<(TableId, Mutation)>),
    Step(Step),
    SwitchMemtables,
    /// Merges all of a table.
    CompactTable(TableId),
    /// As a compact step, but whatever merge begins is cancelled as soon as it has touched the disk.
    CancelledCompact,
    /// It is this time now, in microseconds, if it was not later already.
    Time(u64),
    Snapshot(String),
    ClearSnapshot(String),
    /// The process ends in order and starts again.
    Close,
    /// The process dies and starts again.
    Die,
    /// The power goes and comes back.
    PowerCut(u64, Damage),
}

impl Workload {
    /// The workload of a seed.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let options = options(&mut random);
        let length = random.random_range(40..140);
        let keys = random.random_range(3..24);
        Self { options, actions: actions(&mut random, length, keys) }
    }
}

/// A mutation comes a minute after the one before, in microseconds: a workload takes some hours.
const TIME_SHIFT: u32 = 26;

fn options(random: &mut Xoshiro256PlusPlus) -> Options {
    let mut one_of = |numbers: &[u64]| numbers[random.random_range(0..numbers.len())];
    let segment_bytes = one_of(&[1 << 10, 2 << 10, 4 << 10]);
    let memtable_bytes = one_of(&[1 << 10, 2 << 10, 4 << 10]) as usize;
    Options {
        sync_mode: [SyncMode::Group, SyncMode::Batch, SyncMode::Periodic][one_of(&[0, 1, 2]) as usize],
        spare_segments: one_of(&[0, 1, 4]) as usize,
        segment_bytes,
        commit_log_bytes: segment_bytes * one_of(&[2, 4, 8]),
        memtable_bytes,
        memtable_total_bytes: memtable_bytes * one_of(&[3, 8]) as usize,
        block_bytes: one_of(&[64, 256, 1024]) as usize,
        restart_interval: one_of(&[1, 2, 4]) as usize,
        table: TableOptions {
            gc_grace: Duration::from_secs(3600 * one_of(&[0, 1, 4])),
            ..TableOptions::tiered(one_of(&[2, 3]) as u32)
        },
        merge_max_tables: one_of(&[2, 4]) as usize,
        ..Options::default()
    }
}

fn actions(random: &mut Xoshiro256PlusPlus, length: usize, keys: u64) -> Vec<Action> {
    let mut tables = vec![TableId(1), TableId(7)];
    let mut snapshots = Vec::new();
    let mut actions: Vec<_> = tables.iter().map(|table| Action::CreateTable(*table)).collect();
    for number in 0..length {
        if number == length / 3 {
            tables.push(TableId(3));
            actions.push(Action::CreateTable(TableId(3)));
        }
        if number == length / 2 {
            tables.retain(|table| *table != TableId(7));
            actions.push(Action::DropTable(TableId(7)));
        }
        actions.push(match random.random_range(0..220) {
            0..110 => Action::Apply(batch(number as u64, keys, &tables, random)),
            110..152 => Action::Step(Step::Commit),
            152..160 => Action::Step(Step::Prepare),
            160..166 => Action::Step(Step::Sync),
            166..178 => Action::Step(Step::Flush),
            178..190 => Action::Step(Step::Compact),
            190..196 => Action::SwitchMemtables,
            196 => Action::Close,
            197 => Action::Die,
            198..204 => {
                let passed = random.random_range(0..1_u64 << 34);
                Action::Time((number as u64 * 8) << TIME_SHIFT | passed)
            }
            204..208 => Action::CancelledCompact,
            208..211 => Action::CompactTable(tables[random.random_range(0..tables.len())]),
            211..215 => {
                snapshots.push(format!("s{number}"));
                Action::Snapshot(format!("s{number}"))
            }
            215..217 if !snapshots.is_empty() => {
                Action::ClearSnapshot(snapshots.swap_remove(random.random_range(0..snapshots.len())))
            }
            _ => {
                let damage = Damage::ALL[random.random_range(0..Damage::ALL.len())];
                Action::PowerCut(random.random(), damage)
            }
        });
    }
    // A group is bounded, so the rest may take several.
    actions.extend(std::iter::repeat_n(Action::Step(Step::Commit), 4));
    actions.push(Action::Step(Step::Sync));
    actions
}

/// Mostly one mutation; sometimes several, of different tables, that happen together.
fn batch(
    number: u64,
    keys: u64,
    tables: &[TableId],
    random: &mut Xoshiro256PlusPlus,
) -> Vec<(TableId, Mutation)> {
    let first = random.random_range(0..tables.len());
    let count = if random.random_bool(0.2) { tables.len() } else { 1 };
    let mut one =
        |place| (tables[(first + place) % tables.len()], mutation(number << 3 | place as u64, keys, random));
    (0..count).map(&mut one).collect()
}

/// A mutation whose timestamp no other has, so that a record tells which mutation it came with. Timestamps rise
/// on the whole, but a mutation may be older than the forty before it.
fn mutation(number: u64, keys: u64, random: &mut Xoshiro256PlusPlus) -> Mutation {
    let timestamp = Timestamp((number + random.random_range(0..320)) << TIME_SHIFT | number);
    let key = format!("key{:02}", random.random_range(0..keys));
    if random.random_range(0..4) > 0 {
        return Mutation::single(key, record(timestamp, random));
    }
    let columns = 0..random.random_range(2..4);
    let rows = columns.map(|column| (format!("/{column}").into(), record(timestamp, random)));
    Mutation { key: key.into(), rows: rows.collect() }
}

fn record(timestamp: Timestamp, random: &mut Xoshiro256PlusPlus) -> Record {
    let end = Timestamp(timestamp.0 + random.random_range(0..1 << 33));
    let length = match random.random_range(0..20) {
        0 => 0,
        1 => random.random_range(200..700),
        _ => random.random_range(1..100),
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
