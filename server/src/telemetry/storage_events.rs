//! What the log tells of storage: flushes and merges, and writers that are held up.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use helenus_cluster::node::Node;
use helenus_storage::{
    Pressure, TableId,
    engine::{Event, EventListener},
};

use super::millis;

/// Logs each flush and merge. Tables of the node's own, such as those of hints, have numbers, and are told of at level
/// debug.
pub(crate) fn log_events(node: &Arc<Node>) -> EventListener {
    // The engine belongs to the node.
    let node = Arc::downgrade(node);
    Box::new(move |event| match *event {
        Event::Flushed { table, written_bytes, elapsed } => {
            let elapsed_ms = millis(elapsed);
            match name_of(&node, table) {
                Some(table) => tracing::info!(table, written_bytes, elapsed_ms, "flushed"),
                None => tracing::debug!(tree = table.0, written_bytes, elapsed_ms, "flushed"),
            }
        }
        Event::Compacted { table, kind, input_tables, input_bytes, output_tables, output_bytes, elapsed } => {
            let (kind, elapsed_ms) = (kind.name(), millis(elapsed));
            match name_of(&node, table) {
                Some(table) => tracing::info!(
                    table,
                    kind,
                    input_tables,
                    input_bytes,
                    output_tables,
                    output_bytes,
                    elapsed_ms,
                    "compacted"
                ),
                None => tracing::debug!(
                    tree = table.0,
                    kind,
                    input_tables,
                    input_bytes,
                    output_tables,
                    output_bytes,
                    elapsed_ms,
                    "compacted"
                ),
            }
        }
    })
}

fn name_of(node: &Weak<Node>, table: TableId) -> Option<String> {
    let tables = node.upgrade()?.tables();
    tables.into_iter().find(|known| known.id() == table).map(|known| known.name)
}

/// Whether writers are held up because flushes or merges are behind.
#[derive(Debug, Default)]
pub(crate) struct StallWatch(Option<Stall>);

#[derive(Debug)]
struct Stall {
    began: Instant,
    /// Writes that were refused before.
    refused: u64,
}

/// Waits of each write that nobody need hear of.
const SHORT_DELAY: Duration = Duration::from_millis(1);

impl StallWatch {
    /// Looks at the engine, now and then; says when writers begin to be held up, and when that is over.
    pub(crate) fn look(&mut self, pressure: Pressure, writes_refused: u64, now: Instant) {
        let why = match pressure {
            Pressure::Refused { what } => Some(what),
            Pressure::Slow { delay } if delay >= SHORT_DELAY => Some("flushes or merges are behind"),
            _ => None,
        };
        match (&self.0, why) {
            (None, Some(why)) => {
                tracing::warn!(why, "writers are held up");
                self.0 = Some(Stall { began: now, refused: writes_refused });
            }
            (Some(Stall { began, refused }), None) => {
                let (refused, elapsed_ms) = (writes_refused - refused, millis(now - *began));
                tracing::info!(refused, elapsed_ms, "writers are held up no more");
                self.0 = None;
            }
            _ => {}
        }
    }
}
