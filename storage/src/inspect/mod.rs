//! Read-only views of the files of a data directory, for tools.
//!
//! They take no lock, so they work beside a running engine, whose files may then disappear under them: an SSTable once it
//! is merged, a manifest once another follows. That is [`crate::Error::Io`] of kind `NotFound`, and no damage.
//! Files are read with calls that can fail, never through a map: a disk that cannot read a place must not end the tool.
//! What is held in memory at a time is bounded by the file: the index, filter and statistics of one table, and one block;
//! one segment of the commit log.
//!
//! What a running engine writes in the very moment may be read by halves: damage counts when a second look finds it too.
//!
//! Reading order: `table`, `manifest`, `segment`, `log`, `levels`, `directory`.

use std::path::Path;

use crate::Error;

mod directory;
mod levels;
mod log;
mod manifest;
mod segment;
mod table;

pub use directory::{FileSum, InspectedDirectory};
pub use levels::{InspectedLevel, levels};
pub use log::InspectedLog;
pub use manifest::{InspectedManifest, InspectedTable};
pub use segment::{InspectedSegment, SegmentEnd, TableShare};
pub use table::TableInspection;

/// Looks at what seems damaged or missing, beside a running engine.
const LOOKS: usize = 3;

fn foreign(path: &Path, what: &'static str, why: &str) -> Error {
    Error::Foreign { path: path.into(), what, why: why.to_owned() }
}
