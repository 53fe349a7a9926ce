//! Merging costs as few bytes as it promises, and gives the space back.

use helenus_storage::{
    Engine, Options, Record, Step, StepOutcome, TableOptions, Timestamp, disk::SimulatedDisk,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::rig::{TABLE, flush, open, queue, small};

/// Sizes of production, 256 times smaller.
fn options() -> Options {
    Options {
        segment_bytes: 128 << 10,
        memtable_bytes: 256 << 10,
        commit_log_bytes: 4 << 20,
        block_bytes: 4 << 10,
        table: TableOptions::default(),
        compaction_threads: 1,
        ..small()
    }
}

/// Writes so many unique keys in random order, with values that cannot be compressed, and does what is due. Answers
/// the bytes of keys and values.
fn fill(engine: &Engine, records: u64, value_bytes: usize) -> u64 {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut bytes = 0;
    for number in 0..records {
        let key = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let value: Vec<u8> = (0..value_bytes).map(|_| random.random()).collect();
        bytes += (key.len() + value.len()) as u64;
        let ticket = queue(engine, &key, Record::plain(Timestamp(number), value));
        if number % 16 == 0 || number + 1 == records {
            while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
            while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
            while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
        }
        drop(ticket);
    }
    bytes
}

/// Bytes that flushes and merges wrote, and the log, for each byte of records.
fn write_amplification(engine: &Engine, bytes: u64) -> f64 {
    let counters = engine.counters();
    // Keys are unique: what is live was flushed once, and some of it is in memory still.
    let flushed = counters.sstable_bytes;
    (counters.commit_log_written_bytes + flushed + counters.compaction_written_bytes) as f64 / bytes as f64
}

#[test]
fn bytes_are_written_about_once_per_level() {
    // As much as 116 MB of 100 B, and 1 GB of 1 KiB, are to memtables of 64 MiB.
    for (records, value_bytes, most) in [(5_000, 100, 2.5), (4_000, 1024, 3.5)] {
        let engine = open(&SimulatedDisk::default(), options());
        let bytes = fill(&engine, records, value_bytes);
        let amplification = write_amplification(&engine, bytes);
        assert!(amplification < most, "{value_bytes} B: {amplification}");
    }
}

#[test]
fn a_merged_table_of_unique_keys_takes_little_more_than_they_do() {
    // Timestamp, kind and lengths are a tenth of a small record already.
    for (value_bytes, most) in [(100, 1.2), (1024, 1.1)] {
        let engine = open(&SimulatedDisk::default(), options());
        let bytes = fill(&engine, 3_000, value_bytes);
        flush(&engine);
        engine.compact_table(TABLE).unwrap();
        let amplification = engine.counters().sstable_bytes as f64 / bytes as f64;
        assert!(amplification <= most, "{value_bytes} B: {amplification}");
        assert_eq!(engine.compaction_debt().sorted_runs, 0, "nothing is due");
    }
}
