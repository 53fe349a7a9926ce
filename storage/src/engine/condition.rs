//! Whether the engine may still be used.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, Result};

/// Open, then closed or poisoned, for ever. Asked by every call, so it is two loads.
#[derive(Debug, Default)]
pub(super) struct Condition {
    poisoned: OnceLock<String>,
    closed: AtomicBool,
}

impl Condition {
    /// Whether calls may go on.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub(super) fn check(&self) -> Result<()> {
        if let Some(reason) = self.poisoned.get() {
            return Err(Error::Poisoned { reason: reason.clone() });
        }
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Shuts the engine after a failure, and answers what everyone else gets. The first failure counts.
    pub(super) fn poison(&self, failure: &Error) -> Error {
        Error::Poisoned { reason: self.poisoned.get_or_init(|| failure.to_string()).clone() }
    }

    /// Shuts the engine on purpose.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The failure that poisoned the engine.
    pub(super) fn poisoned(&self) -> Option<String> {
        self.poisoned.get().cloned()
    }
}
