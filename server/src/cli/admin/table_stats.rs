//! `helenus admin table-stats`: the shape of Cassandra's `nodetool tablestats`. What was never measured is a dash.

use std::fmt::Write;

use serde::Deserialize;

use super::load;

/// The answer of `/admin/v1/table-stats`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    tables: Vec<Table>,
}

#[derive(Debug, Deserialize)]
struct Table {
    name: String,
    sstables: u64,
    levels: Vec<Level>,
    space_used_bytes: u64,
    compression_ratio: f64,
    records: u64,
    tombstones: u64,
    expiring: u64,
    record_bytes_median: Option<u64>,
    record_bytes_max: Option<u64>,
    memtable_bytes: u64,
    pending_flushes: u64,
    index_bytes: u64,
    filter_bytes: u64,
    sstables_spared: u64,
    filter_false_positives: u64,
    local_reads: u64,
    local_read_median_us: Option<u64>,
    local_tombstone_reads: u64,
    local_writes: u64,
    local_write_median_us: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Level {
    level: Option<i32>,
    sstables: u64,
}

/// A block a table.
pub(super) fn render(stats: &Stats) -> String {
    let mut text = format!("Total number of tables: {}\n----------------\n", stats.tables.len());
    for table in &stats.tables {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Table: {}", table.name);
        for (name, value) in lines(table) {
            let _ = writeln!(text, "    {name}: {value}");
        }
        text.push('\n');
    }
    text.push_str("----------------");
    text
}

fn lines(table: &Table) -> Vec<(&'static str, String)> {
    let levels: Vec<String> = table.levels.iter().map(level).collect();
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let median = |us: Option<u64>| {
        us.map_or_else(|| "-".to_owned(), |us| format!("{}.{:03} ms", us / 1000, us % 1000))
    };
    vec![
        ("SSTable count", table.sstables.to_string()),
        ("SSTables in each level", format!("[{}]", levels.join(", "))),
        ("Space used (live)", load(Some(table.space_used_bytes))),
        ("SSTable Compression Ratio", format!("{:.5}", table.compression_ratio)),
        ("Number of records", table.records.to_string()),
        ("Number of tombstones", table.tombstones.to_string()),
        ("Number of expiring records", table.expiring.to_string()),
        ("Memtable data size", load(Some(table.memtable_bytes))),
        ("Local read count", table.local_reads.to_string()),
        ("Local read latency (median)", median(table.local_read_median_us)),
        ("Local reads of tombstones", table.local_tombstone_reads.to_string()),
        ("Local write count", table.local_writes.to_string()),
        ("Local write latency (median)", median(table.local_write_median_us)),
        ("Pending flushes", table.pending_flushes.to_string()),
        ("SSTables spared by bounds and filters", table.sstables_spared.to_string()),
        ("Bloom filter false positives", table.filter_false_positives.to_string()),
        ("Bloom filter space used", load(Some(table.filter_bytes))),
        ("Index memory used", load(Some(table.index_bytes))),
        ("Compacted record median bytes", size(table.record_bytes_median)),
        ("Compacted record maximum bytes", size(table.record_bytes_max)),
    ]
}

fn level(level: &Level) -> String {
    match level.level {
        Some(number) => format!("L{number}: {}", level.sstables),
        None => level.sstables.to_string(),
    }
}
