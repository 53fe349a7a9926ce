//! The changes that a manifest records.
//!
//! ```text
//! edit   1 │ table u32                                        create table
//!        2 │ table u32 │ file u64 │ length u64                add file
//!        3 │ table u32 │ file u64                             remove file
//!        4 │ table u32 │ segment u64 │ offset u64             flushed
//!        5 │ first u64 │ newest u64                           log segments
//!        6 │ end u64                                          file ids
//!        7 │ table u32 │ options                              set table options
//!        8 │ first u32 │ last u32                             drop tables
//!
//! options    gc_grace micros u64 │ strategy
//! strategy   1 │ levels u8 │ levels × w i32 │ target u64 │ min u64 │ base_shards u32       unified
//!            2 │ window micros u64 │ min_tables u32                                        time window    all LE
//! ```

use bytes::{Buf, BufMut, Bytes, TryGetError};

use crate::{
    commit_log::segment::{LogPosition, SegmentId},
    sstable::{FileId, TableFile},
    table_id::TableId,
    table_options::TableOptions,
};

use super::options;

/// One change. Those of one frame happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// The table exists from now on.
    CreateTable {
        /// The new table.
        table: TableId,
    },
    /// The tables of these ids are gone, with all that they had, and no table has one of them again.
    DropTables {
        /// The first id.
        first: TableId,
        /// The last id; not before the first.
        last: TableId,
    },
    /// The SSTable is live.
    AddFile {
        /// Whose it is.
        table: TableId,
        /// The file.
        file: TableFile,
    },
    /// The SSTable is not live any more.
    RemoveFile {
        /// Whose it was.
        table: TableId,
        /// The file.
        id: FileId,
    },
    /// All records of the table that were logged before the position are in its SSTables (or superseded).
    Flushed {
        /// The table.
        table: TableId,
        /// Where replay starts for it.
        position: LogPosition,
    },
    /// Segments before `first` are not needed, those up to `newest` exist.
    Log {
        /// The first segment that replay needs.
        first: SegmentId,
        /// A segment that existed when this was written, as all between.
        newest: SegmentId,
    },
    /// The table has options of its own from now on.
    SetOptions {
        /// The table.
        table: TableId,
        /// They replace those it had.
        options: TableOptions,
    },
    /// File ids below are taken, or given away to be used without saying so again.
    FileIds {
        /// The smallest free id.
        end: u64,
    },
}

const CREATE_TABLE: u8 = 1;
const ADD_FILE: u8 = 2;
const REMOVE_FILE: u8 = 3;
const FLUSHED: u8 = 4;
const LOG: u8 = 5;
const FILE_IDS: u8 = 6;
const SET_OPTIONS: u8 = 7;
const DROP_TABLES: u8 = 8;

impl Edit {
    /// Appends the encoding of the cover page.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::CreateTable { table } => {
                out.put_u8(CREATE_TABLE);
                out.put_u32_le(table.0);
            }
            Self::DropTables { first, last } => {
                out.put_u8(DROP_TABLES);
                out.put_u32_le(first.0);
                out.put_u32_le(last.0);
            }
            Self::AddFile { table, file } => {
                out.put_u8(ADD_FILE);
                out.put_u32_le(table.0);
                out.put_u64_le(file.id.0);
                out.put_u64_le(file.length_bytes);
            }
            Self::RemoveFile { table, id } => {
                out.put_u8(REMOVE_FILE);
                out.put_u32_le(table.0);
                out.put_u64_le(id.0);
            }
            Self::Flushed { table, position } => {
                out.put_u8(FLUSHED);
                out.put_u32_le(table.0);
                out.put_u64_le(position.segment.0);
                out.put_u64_le(position.offset);
            }
            Self::Log { first, newest } => {
                out.put_u8(LOG);
                out.put_u64_le(first.0);
                out.put_u64_le(newest.0);
            }
            Self::SetOptions { table, options } => {
                out.put_u8(SET_OPTIONS);
                out.put_u32_le(table.0);
                options::encode(options, out);
            }
            Self::FileIds { end } => {
                out.put_u8(FILE_IDS);
                out.put_u64_le(*end);
            }
        }
    }

    /// Decodes all edits of a frame.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn decode_all(mut input: Bytes) -> Result<Vec<Self>, String> {
        let mut edits = Vec::new();
        while input.has_remaining() {
            edits.push(Self::decode(&mut input).map_err(|_| "an edit is cut short".to_owned())??);
        }
        Ok(edits)
    }

    fn decode(input: &mut Bytes) -> Result<Result<Self, String>, TryGetError> {
        Ok(Ok(match input.try_get_u8()? {
            CREATE_TABLE => Self::CreateTable { table: TableId(input.try_get_u32_le()?) },
            DROP_TABLES => Self::DropTables {
                first: TableId(input.try_get_u32_le()?),
                last: TableId(input.try_get_u32_le()?),
            },
            ADD_FILE => Self::AddFile {
                table: TableId(input.try_get_u32_le()?),
                file: TableFile {
                    id: FileId(input.try_get_u64_le()?),
                    length_bytes: input.try_get_u64_le()?,
                },
            },
            REMOVE_FILE => Self::RemoveFile {
                table: TableId(input.try_get_u32_le()?),
                id: FileId(input.try_get_u64_le()?),
            },
            FLUSHED => Self::Flushed {
                table: TableId(input.try_get_u32_le()?),
                position: LogPosition {
                    segment: SegmentId(input.try_get_u64_le()?),
                    offset: input.try_get_u64_le()?,
                },
            },
            LOG => Self::Log {
                first: SegmentId(input.try_get_u64_le()?),
                newest: SegmentId(input.try_get_u64_le()?),
            },
            SET_OPTIONS => {
                let table = TableId(input.try_get_u32_le()?);
                match options::decode(input)? {
                    Some(options) => Self::SetOptions { table, options },
                    None => return Ok(Err("unknown table options".to_owned())),
                }
            }
            FILE_IDS => Self::FileIds { end: input.try_get_u64_le()? },
            tag => return Ok(Err(format!("unknown edit {tag}"))),
        }))
    }
}
