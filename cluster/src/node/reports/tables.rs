//! The tables as this node stores them.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use helenus_storage::TableStats;
use serde::Serialize;

use super::source::Source;
use crate::{histogram::Snapshot, table::Table};

/// What a node stores of its tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TablesReport {
    /// By name.
    pub tables: Vec<TableReport>,
}

/// What a node stores of one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// SSTables.
    pub sstables: usize,
    /// By level, ascending.
    pub levels: Vec<LevelReport>,
    /// Bytes of SSTables on disk.
    pub space_used_bytes: u64,
    /// Bytes of the blocks after compression by those before; 1 without any.
    pub compression_ratio: f64,
    /// Records in SSTables; a key counts in each that it is in.
    pub records: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// And how many expire.
    pub expiring: u64,
    /// Half of the records are at most as large, in bytes.
    pub record_bytes_median: Option<u64>,
    /// All of them are.
    pub record_bytes_max: Option<u64>,
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Memtables that wait for their flush.
    pub pending_flushes: usize,
    /// Memory of indexes.
    pub index_bytes: u64,
    /// Memory of bloom filters.
    pub filter_bytes: u64,
    /// SSTables that reads were spared by bounds and filters.
    pub sstables_spared: u64,
    /// SSTables that reads have looked into in vain.
    pub filter_false_positives: u64,
    /// Reads of this replica, since the node started.
    pub local_reads: u64,
    /// And what half of them took at most.
    pub local_read_median_us: Option<u64>,
    /// Of the reads, those that found a tombstone.
    pub local_tombstone_reads: u64,
    /// Writes of this replica.
    pub local_writes: u64,
    /// And what half of them took at most.
    pub local_write_median_us: Option<u64>,
}

/// One level of SSTables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelReport {
    /// Its number; absent for a strategy without levels.
    pub level: Option<i32>,
    /// How many SSTables.
    pub sstables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them one key may be in.
    pub overlap: usize,
}

/// How the local reads and writes of one table are spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableHistograms {
    /// Name of the table.
    pub table: String,
    /// Which shares of all are told.
    pub percentiles: BTreeMap<&'static str, TablePercentile>,
}

/// What so great a share of all does not exceed; absent where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TablePercentile {
    /// SSTables that a read looks into.
    pub sstables: Option<u64>,
    /// Microseconds of a write.
    pub write_us: Option<u64>,
    /// Microseconds of a read.
    pub read_us: Option<u64>,
    /// Bytes of a record, key included.
    pub record_bytes: Option<u64>,
}

/// The shares that histograms tell, and what they are called.
pub const PERCENTILES: [(&str, f64); 7] =
    [("50", 0.5), ("75", 0.75), ("95", 0.95), ("98", 0.98), ("99", 0.99), ("min", 0.0), ("max", 1.0)];

/// All tables, or one; `None` if it is not known.
pub(super) fn of(source: &Source, name: Option<&str>) -> Option<TablesReport> {
    let picture = source.cluster.picture();
    let tables = match name {
        Some(name) => vec![picture.table(name)?.clone()],
        None => picture.view().tables().iter().cloned().collect(),
    };
    Some(TablesReport { tables: tables.iter().filter_map(|table| of_table(source, table)).collect() })
}

/// The histograms of a table; `None` if it is not known.
pub(super) fn histograms(source: &Source, name: &str) -> Option<TableHistograms> {
    let table = source.cluster.picture().table(name)?.clone();
    let stats = source.store.engine().table_stats(table.id()).ok()?;
    let meter = source.meters.of(table.id());
    let (reads, writes) = (meter.reads.snapshot(), meter.writes.snapshot());
    let percentiles = PERCENTILES.map(|(name, share)| {
        let percentile = TablePercentile {
            sstables: stats.reads.quantile(share),
            write_us: writes.quantile_us(share),
            read_us: reads.quantile_us(share),
            record_bytes: stats.sizes.quantile(share),
        };
        (name, percentile)
    });
    Some(TableHistograms { table: table.name, percentiles: percentiles.into() })
}

/// Nothing of one that was dropped since.
fn of_table(source: &Source, table: &Table) -> Option<TableReport> {
    let stats = source.store.engine().table_stats(table.id()).ok()?;
    let meter = source.meters.of(table.id());
    let (reads, writes) = (meter.reads.snapshot(), meter.writes.snapshot());
    let median = |snapshot: &Snapshot| snapshot.quantile_us(0.5);
    let TableStats { contents_bytes, blocks_bytes, .. } = stats;
    Some(TableReport {
        name: table.name.clone(),
        id: table.id().0,
        sstables: stats.levels.iter().map(|level| level.tables).sum(),
        space_used_bytes: stats.sstable_bytes,
        compression_ratio: if contents_bytes == 0 {
            1.0
        } else {
            blocks_bytes as f64 / contents_bytes as f64
        },
        records: stats.records,
        tombstones: stats.tombstones,
        expiring: stats.expiring,
        record_bytes_median: stats.sizes.quantile(0.5),
        record_bytes_max: stats.sizes.quantile(1.0),
        memtable_bytes: stats.memtable_bytes,
        pending_flushes: stats.pending_flushes,
        index_bytes: stats.index_bytes,
        filter_bytes: stats.filter_bytes,
        sstables_spared: stats.reads.spared,
        filter_false_positives: stats.reads.in_vain,
        local_reads: reads.count,
        local_read_median_us: median(&reads),
        local_tombstone_reads: meter.tombstones.load(Relaxed),
        local_writes: writes.count,
        local_write_median_us: median(&writes),
        levels: stats
            .levels
            .into_iter()
            .map(|level| LevelReport {
                level: level.level,
                sstables: level.tables,
                bytes: level.bytes,
                overlap: level.overlap,
            })
            .collect(),
    })
}
