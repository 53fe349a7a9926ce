//! Says why a connection did not come about, once per minute and counterpart: a refused node tries again for ever.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Counterparts that are remembered; beyond, new ones are not logged until old ones are forgotten.
const REMEMBERED: usize = 1024;

/// Remembers of whom something was said.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said: Mutex<BTreeMap<(String, &'static str), Instant>>,
}

impl Refusals {
    /// Whether to speak now of what happens with this counterpart; if so, not again for a minute. What it is has a fixed
    /// name: of what the counterpart sends it may make up as much as it likes.
    pub(super) fn may_say(&self, counterpart: impl Into<String>, what: &'static str, now: Instant) -> bool {
        let subject = (counterpart.into(), what);
        let mut said = self.said.lock();
        if said.get(&subject).is_some_and(|last| now < *last + PAUSE) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.retain(|_, last| now < *last + PAUSE);
        }
        if said.len() < REMEMBERED {
            said.insert(subject, now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counterpart_is_spoken_of_once_per_minute() {
        let refusals = Refusals::default();
        let now = Instant::now();

        assert!(refusals.may_say("n2", "cut", now));
        assert!(!refusals.may_say("n2", "cut", now + PAUSE / 2));
        assert!(refusals.may_say("n3", "cut", now + PAUSE / 2));
        assert!(refusals.may_say("n2", "lost", now + PAUSE / 2));
        assert!(refusals.may_say("n2", "cut", now + PAUSE));
    }

    #[test]
    fn strangers_without_number_take_no_memory_without_bound() {
        let refusals = Refusals::default();
        let now = Instant::now();

        let said = (0..5000).filter(|n| refusals.may_say(n.to_string(), "cut", now)).count();

        assert_eq!(said, REMEMBERED);
        assert!(refusals.may_say("later", "cut", now + PAUSE));
    }
}
