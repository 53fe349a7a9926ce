//! The steps of a replica's part in a traced request, noted where they happen.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::message::{MAX_STEPS, Step};

/// Notes steps if they are wanted, the first [`MAX_STEPS`] of them; costs nothing else.
#[derive(Debug, Default)]
pub(crate) struct Steps(Option<Noted>);

#[derive(Debug)]
struct Noted {
    begun: Instant,
    steps: Mutex<Vec<Step>>,
}

impl Steps {
    /// Begins now, with the coming of the request.
    pub(crate) fn begin(are_wanted: bool) -> Self {
        let noted = || Noted { begun: Instant::now(), steps: Mutex::default() };
        let steps = Self(are_wanted.then(noted));
        steps.note(|| "received");
        steps
    }

    /// Notes that something has happened just now.
    pub(crate) fn note<S: Into<String>>(&self, what: impl FnOnce() -> S) {
        let Some(Noted { begun, steps }) = &self.0 else { return };
        let mut steps = steps.lock();
        if steps.len() < MAX_STEPS {
            let after_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            steps.push(Step { after_us, what: what().into() });
        }
    }

    /// Those until now, if they are wanted.
    pub(crate) fn so_far(&self) -> Vec<Step> {
        self.0.as_ref().map(|noted| noted.steps.lock().clone()).unwrap_or_default()
    }

    /// When they began, if they were wanted, and all of them.
    pub(crate) fn end(self) -> (Option<Instant>, Vec<Step>) {
        match self.0 {
            Some(Noted { begun, steps }) => (Some(begun), steps.into_inner()),
            None => (None, Vec::new()),
        }
    }
}
