//! What a data directory's newest manifest says.

use std::path::Path;

use super::foreign;
use crate::{Error, TableId, TableOptions, disk::Disk, error::Result, manifest, sstable::TableFile};

/// The newest manifest of a data directory.
#[derive(Debug, Clone)]
pub struct InspectedManifest {
    /// Its number, which is in its name.
    pub number: u64,
    /// The first log segment that a replay needs.
    pub log_first: u64,
    /// A log segment that existed when it was recorded.
    pub log_newest: u64,
    /// File ids below are taken.
    pub file_ids_end: u64,
    /// How many tables were dropped; their ids are never used again.
    pub dropped_tables: u64,
    /// Where something follows the last edit that is none: what was being recorded when the node died, and did not happen.
    pub torn_at: Option<u64>,
    /// The tables, by id.
    pub tables: Vec<InspectedTable>,
}

/// What a manifest says of a table.
#[derive(Debug, Clone)]
pub struct InspectedTable {
    /// Its id.
    pub id: TableId,
    /// Log segment and offset from which on a replay concerns it.
    pub flushed: (u64, u64),
    /// Its live SSTables.
    pub files: Vec<TableFile>,
    /// Its options, if it was given some.
    pub options: Option<TableOptions>,
}

impl InspectedManifest {
    /// Reads the newest manifest of a directory.
    ///
    /// # Errors
    /// [`Error::Foreign`] when there is none, [`Error::Corrupt`] with file and offset, [`Error::Io`].
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
        let number = names.iter().filter_map(|name| manifest::parse_file_name(name)).max();
        let number = number.ok_or_else(|| {
            foreign(directory, "no data directory, nor a snapshot", "there is no manifest in it")
        })?;
        let (state, torn_at) = manifest::read_to_end(disk, directory, number)?;
        let tables = state.tables.iter().map(|(&id, table)| InspectedTable {
            id,
            flushed: (table.flushed.segment.0, table.flushed.offset),
            files: table.files().collect(),
            options: table.options.clone(),
        });
        Ok(Self {
            number,
            log_first: state.log_first.0,
            log_newest: state.log_newest.0,
            file_ids_end: state.file_ids_end,
            dropped_tables: state.dropped.count(),
            torn_at,
            tables: tables.collect(),
        })
    }
}
