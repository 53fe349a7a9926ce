//! The engine's trees that belong to the node itself, and how their values are written.
//!
//! Ids outside [`USER_TABLES`] are the node's own; no message of another node may touch them.
//!
//! ```text
//! TableId(1)  identity        "identity" → who this node is          "cluster" → the cluster it belongs to
//!                             "tokens" → its tokens, and for where  "clock" → what no stamp is beyond
//! TableId(2)  known cluster   "member/" host id → member             "table/" name → table, or that it was dropped
//! TableId(3)  handoff         "run/" tree u32 BE → run of hints      "mark/" host id, table u32 BE → repair mark
//!                             "next tree" → id of the next run
//! 2^31 …      runs of hints   number u64 BE → hint (no format in front)
//! value       format u8 = 5 │ postcard
//! ```

use std::ops::Range;

use bytes::Bytes;
use helenus_storage::{Engine, Record, RecordKind, TableId, TryGet};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    node::StartError,
    table::{DEFAULT_TABLE_ID, TABLE_IDS_END},
};

/// Who this node is.
pub(crate) const IDENTITY: TableId = TableId(1);

/// The members and tables this node knows.
pub(crate) const KNOWN_CLUSTER: TableId = TableId(2);

/// The runs of hints there are, and what is left of undelivered hints.
pub(crate) const HANDOFF: TableId = TableId(3);

/// The ids of user tables.
pub(crate) const USER_TABLES: Range<TableId> = DEFAULT_TABLE_ID..TABLE_IDS_END;

/// The id of the first run of hints.
pub(crate) const FIRST_RUN: TableId = TABLE_IDS_END;

const FORMAT: u8 = 5;

/// A value with its format in front.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_extend(value, vec![FORMAT])
        .expect("our structs hold only what postcard can write, and a vector grows")
        .into()
}

/// The value of a record; `None` for a tombstone.
///
/// # Errors
/// [`StartError::Identity`] naming `what`, when a later build wrote it or it does not decode.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, record: &Record) -> Result<Option<T>, StartError> {
    let (RecordKind::Plain { value } | RecordKind::Expiring { value, .. }) = &record.kind else {
        return Ok(None);
    };
    match value.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest)
            .map(Some)
            .map_err(|error| StartError::Identity(format!("the stored {what} does not decode: {error}"))),
        Some((format, _)) => Err(StartError::Identity(format!(
            "the stored {what} has format {format}, this build reads {FORMAT}"
        ))),
        None => Err(StartError::Identity(format!("the stored {what} is empty"))),
    }
}

/// Reads a record of an own tree at start-up, where a short wait for the disk delays nobody.
///
/// # Errors
/// When storage fails.
pub(crate) fn read(engine: &Engine, table: TableId, key: &[u8]) -> Result<Option<Record>, StartError> {
    match engine.try_get(table, key)? {
        TryGet::Ready(record) => Ok(record),
        TryGet::Cold => Ok(engine.get(table, key)?),
    }
}
