//! Keeps a log line that would come every second to one a minute.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(60);
/// Lines that are remembered; beyond, new ones are not written until old ones are forgotten: part of many of them is
/// what others send, and who sends something else each time must not fill the log.
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
        let is_fresh = |at: &Instant| now.duration_since(*at) < PERIOD;
        let mut written = self.written.lock();
        if written.get(line).is_some_and(is_fresh) {
            return false;
        }
        if written.len() >= MAX_LINES {
            written.retain(|_, at| is_fresh(at));
        }
        let is_room = written.len() < MAX_LINES;
        if is_room {
            written.insert(line.to_owned(), now);
        }
        is_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_written_once_a_minute_and_lines_without_number_fill_no_log() {
        let limit = LogLimit::default();

        assert!(limit.allows("a line") && !limit.allows("a line"));
        let others = (0..5000).filter(|n| limit.allows(&n.to_string())).count();
        assert_eq!(others, MAX_LINES - 1);

        tokio::time::advance(PERIOD).await;
        assert!(limit.allows("a line") && limit.allows("another"));
    }
}
