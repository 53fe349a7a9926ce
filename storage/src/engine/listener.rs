//! Telling drivers about work, and operators what was done.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use crate::engine::{CompactionKind, Step, TableId};

/// Called whenever a kind of work appears, from any thread and possibly inside engine calls: it must return
/// at once and must not call the engine.
///
/// [`Step::Commit`] is told when the queue stops being empty, not for each apply; [`Step::Sync`] when
/// something is written for the first time since the last sync, for the driver to call it one `sync_interval`
/// later; [`Step::Flush`] when memtables are switched; [`Step::Compact`] when an SSTable is added; [`Step::Prepare`] when
/// the log goes on in another segment, or when much was written since the last sync. A driver
/// that calls `step` until it is [`Idle`](crate::StepOutcome::Idle), and then waits to be told again, misses
/// nothing.
pub type WorkListener = Arc<dyn Fn(Step) + Send + Sync>;

/// What was done to the SSTables of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A memtable was written to an SSTable.
    Flushed {
        /// Its table.
        table: TableId,
        /// Bytes of the SSTable; 0 if nothing was left to write.
        written_bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// SSTables were merged, or dropped.
    Compacted {
        /// Their table.
        table: TableId,
        /// Why.
        kind: CompactionKind,
        /// How many they were.
        input_tables: usize,
        /// Their bytes.
        input_bytes: u64,
        /// How many there are instead.
        output_tables: usize,
        /// Their bytes.
        output_bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
}

/// Called after each flush and merge, on the thread that did it: it must return soon and must not call the engine.
pub type EventListener = Box<dyn Fn(&Event) + Send + Sync>;

/// Holds the listeners.
#[derive(Default)]
pub(super) struct Listener {
    work: ArcSwapOption<WorkListener>,
    events: ArcSwapOption<EventListener>,
}

impl Listener {
    /// Replaces the listener to work.
    pub(super) fn set(&self, listener: WorkListener) {
        self.work.store(Some(Arc::new(listener)));
    }

    /// Replaces the listener to what was done.
    pub(super) fn set_events(&self, listener: EventListener) {
        self.events.store(Some(Arc::new(listener)));
    }

    /// Tells of work, if someone listens.
    pub(super) fn tell(&self, step: Step) {
        if let Some(listener) = &*self.work.load() {
            listener(step);
        }
    }

    /// Tells what was done, if someone listens.
    pub(super) fn tell_done(&self, event: &Event) {
        if let Some(listener) = &*self.events.load() {
            listener(event);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.work.load().is_some()).finish()
    }
}
