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
    said: Mutex<BTreeMap<String, Instant>>,
}

impl Refusals {
    /// Whether to speak of this counterpart now; if so, not again for a minute.
    pub(super) fn may_say(&self, counterpart: &str, now: Instant) -> bool {
        let mut said = self.said.lock();
        if said.get(counterpart).is_some_and(|last| now < *last + PAUSE) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.retain(|_, last| now < *last + PAUSE);
        }
        if said.len() < REMEMBERED {
            said.insert(counterpart.to_owned(), now);
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

        assert!(refusals.may_say("n2", now));
        assert!(!refusals.may_say("n2", now + PAUSE / 2));
        assert!(refusals.may_say("n3", now + PAUSE / 2));
        assert!(refusals.may_say("n2", now + PAUSE));
    }

    #[test]
    fn strangers_without_number_take_no_memory_without_bound() {
        let refusals = Refusals::default();
        let now = Instant::now();

        let said = (0..5000).filter(|n| refusals.may_say(&n.to_string(), now)).count();

        assert_eq!(said, REMEMBERED);
        assert!(refusals.may_say("later", now + PAUSE));
    }
}
