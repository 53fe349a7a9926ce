//! Which records exist, while many clients insert.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Numbers, each given out once.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// From `start` up.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Numbers given out once, and up to where all of them have been acknowledged: records below exist.
#[derive(Debug)]
pub struct AcknowledgedCounter {
    next: Counter,
    /// Everything below is acknowledged.
    limit: AtomicU64,
    /// Acknowledged out of order. At most one number for each client.
    ahead: Mutex<BTreeSet<u64>>,
}

impl AcknowledgedCounter {
    /// From `start` up; what is below is there already.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self { next: Counter::new(start), limit: AtomicU64::new(start), ahead: Mutex::default() }
    }

    /// The next number to insert.
    pub fn next(&self) -> u64 {
        self.next.next()
    }

    /// The insert of a number has ended.
    pub fn acknowledge(&self, number: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert(number);
        let mut limit = self.limit.load(Ordering::Relaxed);
        while ahead.remove(&limit) {
            limit += 1;
        }
        self.limit.store(limit, Ordering::Release);
    }

    /// The highest number up to which all are acknowledged; 0 also if there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.limit.load(Ordering::Acquire).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_waits_for_the_slowest_insert() {
        let counter = AcknowledgedCounter::new(10);
        assert_eq!([counter.next(), counter.next(), counter.next()], [10, 11, 12]);
        counter.acknowledge(12);
        counter.acknowledge(11);
        assert_eq!(counter.last(), 9);
        counter.acknowledge(10);
        assert_eq!(counter.last(), 12);
    }
}
