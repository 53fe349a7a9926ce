//! What may be done to an engine, drawn and shrunk.

use std::time::Duration;

use bytes::Bytes;
use helenus_storage::{
    AccessMode, Compression, Options, Record, ScanLimits, SyncMode, TableId, TableOptions, Timestamp,
    disk::Damage,
    table_options::{Strategy as Merging, TimeWindow, Unified},
};
use proptest::prelude::*;

use crate::rig::small;

/// Few hours are what all times are made of: ties are the rule, and graces end while the test looks on.
pub(super) const HOUR: u64 = 3600 * 1_000_000;

/// The last one is created by an action, if at all.
pub(super) const TABLES: [TableId; 3] = [TableId(1), TableId(2), TableId(9)];
pub(super) const SNAPSHOTS: [&str; 3] = ["monday", "tuesday", "wednesday"];

/// A key and a suffix, by number.
pub(super) type Place = (u8, u8);

/// Table, key, and a record for each of some suffixes.
pub(super) type Rows = (TableId, u8, Vec<(u8, Record)>);

#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Mutations of one or several rows each, of any tables, which happen together.
    Write(Vec<Rows>),
    Get(TableId, Place),
    MultiGet(TableId, Vec<Place>),
    /// A range from one key to another, in pages.
    Scan {
        table: TableId,
        from: Place,
        to: Place,
        is_open: bool,
        limits: ScanLimits,
    },
    Switch,
    Flush,
    FlushAll,
    Compact,
    CompactTable(TableId),
    /// All of a table ends up in one merge, so that it is known what is left.
    FlushAndCompactTable(TableId),
    /// So many hours go by.
    Pass(u64),
    Create(TableId, Option<TableOptions>),
    SetOptions(TableId, TableOptions),
    Drop(TableId),
    Snapshot(&'static str),
    ClearSnapshot(&'static str),
    OpenSnapshot(&'static str),
    Crash {
        seed: u64,
        damage: Damage,
    },
    Close,
}

pub(super) fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 1..60)
}

/// Settings that change how things are done and nothing of what is done.
pub(super) fn options() -> impl Strategy<Value = Options> {
    (any::<[bool; 4]>(), 2..5_usize).prop_map(|([batch, standard, plain, cached], merge_max_tables)| {
        Options {
            sync_mode: if batch { SyncMode::Batch } else { SyncMode::Group },
            access_mode: if standard { AccessMode::Standard } else { AccessMode::Mmap },
            compression: if plain { Compression::None } else { Compression::Lz4 },
            block_cache_bytes: if cached { 1 << 20 } else { 0 },
            memtable_bytes: 2 << 10,
            segment_bytes: 1 << 10,
            block_bytes: 64,
            merge_max_tables,
            table: TableOptions { gc_grace: Duration::from_secs(2 * 3600), ..TableOptions::tiered(2) },
            ..small()
        }
    })
}

fn action() -> impl Strategy<Value = Action> {
    let write = prop::collection::vec((table(), 0..8_u8, rows()), 1..3).prop_map(Action::Write);
    let reads = prop_oneof![
        (table(), place()).prop_map(|(table, place)| Action::Get(table, place)),
        (table(), prop::collection::vec(place(), 0..6))
            .prop_map(|(table, places)| Action::MultiGet(table, places)),
        (table(), place(), place(), any::<bool>(), limits())
            .prop_map(|(table, from, to, is_open, limits)| Action::Scan { table, from, to, is_open, limits }),
    ];
    let upkeep = prop_oneof![
        2 => Just(Action::Switch),
        2 => Just(Action::Flush),
        2 => Just(Action::FlushAll),
        3 => Just(Action::Compact),
        1 => table().prop_map(Action::CompactTable),
        1 => table().prop_map(Action::FlushAndCompactTable),
        2 => (1..4_u64).prop_map(Action::Pass),
    ];
    let definitions = prop_oneof![
        (table(), prop::option::of(table_options()))
            .prop_map(|(table, options)| Action::Create(table, options)),
        (table(), table_options()).prop_map(|(table, options)| Action::SetOptions(table, options)),
        Just(Action::Drop(TABLES[1])),
        Just(Action::Drop(TABLES[2])),
    ];
    let name = || (0..SNAPSHOTS.len()).prop_map(|index| SNAPSHOTS[index]);
    let snapshots = prop_oneof![
        2 => name().prop_map(Action::Snapshot),
        1 => name().prop_map(Action::ClearSnapshot),
        1 => name().prop_map(Action::OpenSnapshot),
    ];
    let restarts = prop_oneof![
        (any::<u64>(), 0..Damage::ALL.len())
            .prop_map(|(seed, damage)| Action::Crash { seed, damage: Damage::ALL[damage] }),
        Just(Action::Close),
    ];
    prop_oneof![20 => write, 7 => reads, 11 => upkeep, 1 => definitions, 2 => snapshots, 2 => restarts]
}

/// Few timestamps and values: ties are the rule. The end follows from the timestamp: of two records that share one, a
/// merge may have aged the earlier into a tombstone, which wins over the other.
fn record() -> impl Strategy<Value = Record> {
    (0..6_u64, 0..3_u8, 0..3_usize).prop_map(|(hours, kind, length)| {
        let (timestamp, end) = (Timestamp(hours * HOUR), Timestamp((hours * 5 % 7) * HOUR));
        let value = Bytes::from(vec![b'v'; length * 40]);
        match kind {
            0 => Record::plain(timestamp, value),
            1 => Record::expiring(timestamp, value, end),
            _ => Record::tombstone(timestamp, end),
        }
    })
}

/// Mostly one row, and no suffix twice.
fn rows() -> impl Strategy<Value = Vec<(u8, Record)>> {
    prop_oneof![
        3 => (0..3_u8, record()).prop_map(|row| vec![row]),
        1 => prop::collection::btree_map(0..3_u8, record(), 1..4).prop_map(|rows| rows.into_iter().collect()),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (0..8_u8, 0..3_u8)
}

/// Mostly the first, so that something becomes of it.
fn table() -> impl Strategy<Value = TableId> {
    prop_oneof![6 => Just(TABLES[0]), 2 => Just(TABLES[1]), 1 => Just(TABLES[2])]
}

fn table_options() -> impl Strategy<Value = TableOptions> {
    let unified = (1..5_u32, 64..512_u64).prop_map(|(base_shards, target_bytes)| {
        Merging::Unified(Unified {
            scaling: "T2, L2".parse().expect("it is a scaling"),
            target_bytes,
            min_bytes: target_bytes / 2,
            base_shards,
        })
    });
    let window = |hours: u64| TimeWindow { window: Duration::from_secs(hours * 3600), min_tables: 2 };
    let windows = (1..3_u64).prop_map(move |hours| Merging::TimeWindow(window(hours)));
    (prop_oneof![unified, windows], 0..4_u64)
        .prop_map(|(strategy, hours)| TableOptions { strategy, gc_grace: Duration::from_secs(hours * 3600) })
}

fn limits() -> impl Strategy<Value = ScanLimits> {
    let bound = |most: usize| prop_oneof![Just(usize::MAX), 1..most];
    let bounds = (bound(5), bound(5), bound(200), bound(4), 0..4_u64);
    bounds.prop_map(|(items, live, bytes, tombstones, hours)| ScanLimits {
        items,
        live,
        bytes,
        tombstones,
        now: Timestamp(hours * HOUR),
    })
}
