//! Whether a user record exists, as far as this node can know: what decides if a newcomer may own ranges at once.
//!
//! The order in which a coordinator uses this, and why, is on the cover page of [`crate::membership`]: it says that
//! a record may come, takes its picture of the cluster, makes the fact durable, and sends. A request that turns out
//! to be unavailable takes its word back; otherwise one refused write to the first node of a forming cluster would
//! lock out all the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// The flag of one node. Memory only: durability is `known_cluster`'s.
#[derive(Debug, Default)]
pub(crate) struct UserRecords {
    exist: AtomicBool,
    /// Writes that are being planned.
    intents: AtomicU64,
}

/// A write that is being planned: while it lives, the node says that user records exist.
#[derive(Debug)]
pub(crate) struct Intent<'a>(&'a UserRecords);

impl UserRecords {
    /// From now on a record exists, or may.
    pub(crate) fn exist(&self) {
        self.exist.store(true, Ordering::SeqCst);
        // As in `intend`: what its caller reads next of the cluster is read after this is visible.
        fence(Ordering::SeqCst);
    }

    /// Whether a record exists, or may: without the writes that are only being planned.
    pub(crate) fn do_exist(&self) -> bool {
        self.exist.load(Ordering::SeqCst)
    }

    /// A write is about to be planned. The picture of the cluster must be taken afterwards.
    pub(crate) fn intend(&self) -> Intent<'_> {
        self.intents.fetch_add(1, Ordering::SeqCst);
        // Dekker's fence: the picture is read after this is visible to those who list a new member and then look.
        fence(Ordering::SeqCst);
        Intent(self)
    }

    /// What to tell other nodes; to be read after the members were listed.
    pub(crate) fn may_exist(&self) -> bool {
        fence(Ordering::SeqCst);
        self.intents.load(Ordering::SeqCst) > 0 || self.do_exist()
    }
}

impl Intent<'_> {
    /// The write will be sent.
    pub(crate) fn hold(self) {
        self.0.exist();
    }
}

impl Drop for Intent<'_> {
    fn drop(&mut self) {
        self.0.intents.fetch_sub(1, Ordering::SeqCst);
    }
}
