//! Keeps a log line that would come every second to one a minute.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(60);
/// Lines that are remembered; beyond, all are forgotten, which costs repetition and nothing else.
const MAX_LINES: usize = 1024;

/// Remembers which lines were written when.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    written: Mutex<BTreeMap<String, Instant>>,
}

impl LogLimit {
    /// Whether to write this line now.
    pub(crate) fn allows(&self, line: &str) -> bool {
        let now = Instant::now();
        let mut written = self.written.lock();
        if written.get(line).is_some_and(|at| now.duration_since(*at) < PERIOD) {
            return false;
        }
        if written.len() >= MAX_LINES {
            written.clear();
        }
        written.insert(line.to_owned(), now);
        true
    }
}
