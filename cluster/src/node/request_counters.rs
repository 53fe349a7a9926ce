//! What a node counts of the requests that it coordinates, and of those that it does for other coordinators.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::message::Request;

/// Counts of one node since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounters {
    /// Reads whose replicas did not agree.
    pub digest_mismatches: u64,
    /// Replicas that a read wrote its result to before it was answered.
    pub blocking_repairs: u64,
    /// Replicas that a read wrote its result to after it was answered.
    pub background_repairs: u64,
    /// Reads that ended with late answers unheard, because too many others waited for theirs.
    pub dropped_background_repairs: u64,
    /// Reads that asked beyond their level because a session needed more.
    pub session_widenings: u64,
    /// Replicas that a read asked because others were late.
    pub speculative_retries: u64,
    /// Late answers that no other replica was asked for, because there were too many such.
    pub refused_speculative_retries: u64,
    /// Writes that were stamped anew, because replicas had something newer when they came.
    pub restamped_writes: u64,
    /// Replicas that a write was not forwarded to, because too many were under way.
    pub not_forwarded: u64,
    /// Requests of other nodes that were not begun, because nobody waited for them any more, by [`Request::VERBS`].
    pub expired_before: [u64; Request::VERBS.len()],
    /// Requests of other nodes that were not done when nobody waited for them any more, likewise.
    pub expired_during: [u64; Request::VERBS.len()],
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(in crate::node) digest_mismatches: Counter,
    pub(in crate::node) blocking_repairs: Counter,
    pub(in crate::node) background_repairs: Counter,
    pub(in crate::node) dropped_background_repairs: Counter,
    pub(in crate::node) session_widenings: Counter,
    pub(in crate::node) speculative_retries: Counter,
    pub(in crate::node) refused_speculative_retries: Counter,
    pub(in crate::node) restamped_writes: Counter,
    pub(in crate::node) not_forwarded: Counter,
    pub(in crate::node) expired_before: [Counter; Request::VERBS.len()],
    pub(in crate::node) expired_during: [Counter; Request::VERBS.len()],
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(in crate::node) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(in crate::node) fn read(&self) -> RequestCounters {
        RequestCounters {
            digest_mismatches: self.digest_mismatches.get(),
            blocking_repairs: self.blocking_repairs.get(),
            background_repairs: self.background_repairs.get(),
            dropped_background_repairs: self.dropped_background_repairs.get(),
            session_widenings: self.session_widenings.get(),
            speculative_retries: self.speculative_retries.get(),
            refused_speculative_retries: self.refused_speculative_retries.get(),
            restamped_writes: self.restamped_writes.get(),
            not_forwarded: self.not_forwarded.get(),
            expired_before: self.expired_before.each_ref().map(Counter::get),
            expired_during: self.expired_during.each_ref().map(Counter::get),
        }
    }
}
