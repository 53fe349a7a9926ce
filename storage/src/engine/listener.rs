//! Telling drivers about work.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::engine::Step;

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

/// Holds the listener.
#[derive(Default)]
pub(super) struct Listener(ArcSwapOption<WorkListener>);

impl Listener {
    /// Replaces the listener.
    pub(super) fn set(&self, listener: WorkListener) {
        self.0.store(Some(Arc::new(listener)));
    }

    /// Tells it, if there is one.
    pub(super) fn tell(&self, step: Step) {
        if let Some(listener) = &*self.0.load() {
            listener(step);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.load().is_some()).finish()
    }
}
