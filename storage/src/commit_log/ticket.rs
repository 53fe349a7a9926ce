//! How whoever applied a mutation learns what became of it.
//!
//! One [`Outcome`] serves all tickets of a group: an apply allocates nothing for its ticket, and a group is
//! released with one lock. No runtime and no timer is involved: a ticket is woken by the thread that
//! committed.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use crate::error::Result;

/// Becomes ready when the mutation is as durable as the sync mode promises and visible to reads.
///
/// A future that needs no runtime, and a blocking [`Ticket::wait`]. Dropping it does not undo the apply. When
/// the engine is dropped first, it answers [`crate::Error::Closed`]: the mutation was not acknowledged.
#[derive(Debug)]
#[must_use = "an apply is not durable before its ticket is ready"]
pub struct Ticket {
    outcome: Arc<Outcome>,
    /// Our place among the wakers of the group.
    index: usize,
}

impl Ticket {
    pub(crate) fn new(outcome: Arc<Outcome>, index: usize) -> Self {
        Self { outcome, index }
    }

    /// Blocks until the outcome is known.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] when the group's write or sync failed; the mutation may or may not survive.
    /// [`crate::Error::Closed`] when the engine was dropped before its group was committed.
    pub fn wait(self) -> Result<()> {
        let mut state = self.outcome.state.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            self.outcome.resolved.wait(&mut state);
        }
    }
}

impl Future for Ticket {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.outcome.state.lock();
        if let Some(result) = &state.result {
            return Poll::Ready(result.clone());
        }
        let waker = context.waker();
        if state.wakers.len() <= self.index {
            state.wakers.resize(self.index + 1, None);
        }
        // A ticket may move from task to task: the latest waker counts.
        match &mut state.wakers[self.index] {
            Some(known) => known.clone_from(waker),
            vacant => *vacant = Some(waker.clone()),
        }
        Poll::Pending
    }
}

/// What became of a group, shared by its tickets.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    state: Mutex<State>,
    resolved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Result<()>>,
    wakers: Vec<Option<Waker>>,
}

impl Outcome {
    /// Tells every ticket, unless they know already.
    pub(crate) fn resolve(&self, result: Result<()>) {
        let wakers = {
            let mut state = self.state.lock();
            if state.result.is_some() {
                return;
            }
            state.result = Some(result);
            std::mem::take(&mut state.wakers)
        };
        self.resolved.notify_all();
        // Wakers are foreign code: never under our lock.
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
