//! An engine on a simulated disk, and short words for what tests do with it.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use helenus_storage::{
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, TableId, TableOptions, Ticket, Timestamp,
    disk::SimulatedDisk,
};

pub(crate) const DIRECTORY: &str = "/data";
pub(crate) const TABLE: TableId = TableId(1);

/// Small enough that everything happens soon.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 4 << 10,
        memtable_bytes: 64 << 10,
        commit_log_bytes: 1 << 20,
        block_bytes: 512,
        table: TableOptions::tiered(3),
        ..Options::default()
    }
}

pub(crate) fn try_open(disk: &SimulatedDisk, options: Options) -> Result<Engine, Error> {
    Engine::open(Arc::new(disk.clone()), Path::new(DIRECTORY), options)
}

/// Opens, and creates the table.
pub(crate) fn open(disk: &SimulatedDisk, options: Options) -> Engine {
    let engine = try_open(disk, options).unwrap();
    engine.create_table(TABLE).unwrap();
    engine
}

pub(crate) fn plain(timestamp: u64, value: &str) -> Record {
    Record::plain(Timestamp(timestamp), value.as_bytes().to_vec())
}

pub(crate) fn queue(engine: &Engine, key: &str, record: Record) -> Ticket {
    engine.apply(TABLE, Mutation::single(key.as_bytes().to_vec(), record)).unwrap()
}

/// Applies and commits.
pub(crate) fn write(engine: &Engine, key: &str, record: Record) {
    let ticket = queue(engine, key, record);
    assert_eq!(engine.step(Step::Commit).unwrap(), StepOutcome::Worked);
    ticket.wait().unwrap();
}

pub(crate) fn read(engine: &Engine, key: &str) -> Option<Record> {
    engine.get(TABLE, key.as_bytes()).unwrap()
}

/// Moves everything that is in memory to an SSTable.
pub(crate) fn flush(engine: &Engine) {
    engine.switch_memtables().unwrap();
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
}

/// All records, in order.
pub(crate) fn everything(engine: &Engine) -> Vec<(Bytes, Record)> {
    use std::ops::Bound::Unbounded;
    engine.scan(TABLE, (Unbounded, Unbounded), usize::MAX).unwrap()
}

/// Names of the files in the data directory that end so.
pub(crate) fn files(disk: &SimulatedDisk, suffix: &str) -> Vec<String> {
    let names = disk.files().into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.ends_with(suffix)).collect()
}
