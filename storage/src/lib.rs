//! The storage engine of Helenus: a log-structured merge tree that knows bytes, timestamps and files, and
//! nothing of nodes, tokens, replicas, clocks or async runtimes.
//!
//! Reading order (and dependency order): [`record`] is what is stored and how two versions of it are
//! reconciled; [`disk`] is the seam below which everything can fail; [`commit_log`], `memtable` and
//! [`sstable`] are the three places a record lives in; [`mod@merge`] reads several of them as one; `manifest`
//! says which SSTables are live; `compaction` makes fewer of them; `scan` cuts a range into pages; `tree` puts memtables and SSTables of one
//! table together, and `read_costs` counts what its reads cost; `recovery` opens a data directory; `snapshot` makes another of it; `scrub` verifies
//! what is live and [`inspect`] shows what the files of a data directory hold; [`engine`] is the door; [`background`] the threads that
//! loop on [`Engine::step`]. [`marks`] are assertions for all of them, [`histogram`] counts durations, `pace` tells how fast
//! something goes on, `varint` the numbers of all formats.

pub mod background;
pub mod commit_log;
mod compaction;
pub mod disk;
pub mod engine;
pub mod error;
pub mod histogram;
pub mod inspect;
mod leisure;
mod manifest;
pub mod marks;
mod memtable;
pub mod merge;
pub mod options;
mod pace;
mod read_costs;
pub mod record;
mod recovery;
mod scan;
mod scrub;
mod snapshot;
pub mod sstable;
mod table_id;
pub mod table_options;
mod tree;
mod varint;

pub use engine::{
    Compaction, CompactionDebt, CompactionKind, Engine, Event, Outrun, Pressure, ScanEnd, ScanLimits,
    ScanPage, Step, StepOutcome, TableId, TableStats, Ticket, TryGet,
};
pub use error::Error;
pub use options::{AccessMode, Clock, Compression, Options, PurgeFilter, SyncMode};
pub use pace::RecentPace;
pub use read_costs::ReadCosts;
pub use record::{Mutation, Record, RecordKind, Timestamp};
pub use scrub::ScrubReport;
pub use snapshot::{SNAPSHOTS_DIRECTORY, Snapshot};
pub use table_options::TableOptions;
