//! The numbers of a node's storage.

use std::fmt;

use helenus_storage::{Step, engine::EngineCounters, histogram::Snapshot};
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::process::DiskSpace;

/// Writes all of them.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    now: &EngineCounters,
    syncs: Option<&Snapshot>,
    disk: Option<DiskSpace>,
) -> fmt::Result {
    if let Some(syncs) = syncs {
        let help = "Time of a sync of the commit log";
        encoder
            .encode_descriptor("commit_log_sync_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(syncs.sum_seconds, syncs.count, &syncs.buckets, None)?;
    }
    for (name, help, unit, value) in counters(now) {
        encoder
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    let mut failures = encoder.encode_descriptor(
        "background_failures",
        "Work of the storage that failed, by its kind",
        None,
        MetricType::Counter,
    )?;
    for (step, count) in Step::ALL.iter().zip(&now.failures) {
        failures
            .encode_family(&[("step", step.name())])?
            .encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    let on_disk = disk.map(|disk| {
        [
            (
                "disk_size",
                "Size of the file system of the data directory",
                Some(Unit::Bytes),
                disk.size_bytes,
            ),
            ("disk_available", "Room that is left in it", Some(Unit::Bytes), disk.available_bytes),
        ]
    });
    for (name, help, unit, value) in gauges(now).into_iter().chain(on_disk.into_iter().flatten()) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)?;
    }
    Ok(())
}

type Number = (&'static str, &'static str, Option<Unit>, u64);

fn counters(now: &EngineCounters) -> [Number; 15] {
    [
        ("commit_log_groups", "Groups written to the commit log", None, now.commit_log_groups),
        ("commit_log_mutations", "Mutations written to the commit log", None, now.commit_log_mutations),
        (
            "commit_log_written",
            "Bytes written to the commit log",
            Some(Unit::Bytes),
            now.commit_log_written_bytes,
        ),
        ("flushes", "Memtables flushed to SSTables", None, now.flushes),
        ("flush_written", "Bytes of SSTables that flushes wrote", Some(Unit::Bytes), now.flush_written_bytes),
        ("compactions", "Merges of SSTables", None, now.compactions),
        (
            "compaction_written",
            "Bytes of SSTables that merges wrote",
            Some(Unit::Bytes),
            now.compaction_written_bytes,
        ),
        ("writes_slowed", "Writes held up because flushes or merges are behind", None, now.writes_slowed),
        ("writes_refused", "Writes refused because flushes or merges are behind", None, now.writes_refused),
        ("storage_reads", "Reads of single keys", None, now.reads),
        ("sstables_read", "SSTables that such reads have looked into", None, now.sstables_read),
        (
            "sstables_spared",
            "SSTables that such reads were spared by bounds and bloom filters",
            None,
            now.sstables_spared,
        ),
        (
            "bloom_filter_false_positives",
            "SSTables that such reads have looked into in vain",
            None,
            now.sstables_in_vain,
        ),
        ("block_cache_hits", "Blocks found in the cache", None, now.block_cache_hits),
        ("block_cache_misses", "Blocks looked for in the cache in vain", None, now.block_cache_misses),
    ]
}

fn gauges(now: &EngineCounters) -> [Number; 14] {
    [
        ("memtable", "Bytes accounted to memtables", Some(Unit::Bytes), now.memtable_bytes),
        ("pending_flushes", "Memtables that wait for their flush", None, now.pending_flushes),
        ("commit_queue", "Bytes that wait for the commit log", Some(Unit::Bytes), now.commit_queue_bytes),
        ("commit_log_segments", "Segments of the commit log that are needed", None, now.commit_log_segments),
        ("compactions_running", "Merges that are under way", None, now.compactions_running),
        (
            "compaction_pending",
            "Bytes of SSTables that are due to be merged",
            Some(Unit::Bytes),
            now.compaction_pending_bytes,
        ),
        ("sstables_set_aside", "Damaged SSTables that no merge takes", None, now.set_aside),
        ("scrub_damages", "Damaged places that the last scrub has found", None, now.scrub_damages),
        ("sstables", "Live SSTables", None, now.sstables),
        ("sstable", "Bytes of live SSTables", Some(Unit::Bytes), now.sstable_bytes),
        (
            "sstable_pending_delete",
            "Bytes of SSTables that were removed, and that reads under way still keep on the disk",
            Some(Unit::Bytes),
            now.pending_delete_bytes,
        ),
        ("sstable_index", "Memory of SSTable indexes", Some(Unit::Bytes), now.index_bytes),
        ("sstable_filter", "Memory of bloom filters", Some(Unit::Bytes), now.filter_bytes),
        ("block_cache", "Memory of the block cache", Some(Unit::Bytes), now.block_cache_bytes),
    ]
}
