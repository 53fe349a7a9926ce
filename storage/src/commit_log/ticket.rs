//! How whoever applied a mutation learns what became of it.
//!
//! One [`Outcome`] serves all tickets of a group: an apply allocates nothing for its ticket, and a group is
//! released with one lock. No runtime and no timer is involved: a ticket is woken by the thread that
//! committed.

use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use crate::{error::Result, record::Timestamp};

/// How a mutation was outrun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outrun {
    /// By a record that was there before it and wins over it: of this timestamp, the newest that the table holds of the key.
    By(Timestamp),
    /// Perhaps, and by what is not known: the table holds as new a timestamp outside the active memtable.
    Perhaps,
}

/// Becomes ready when the mutations are as durable as the sync mode promises and visible to reads. It answers which of them
/// were *outrun*, by their places in the batch, ascending. Of the others it is certain that nothing that was applied before
/// wins over them.
///
/// A future that needs no runtime, and a blocking [`Ticket::wait`]. Dropping it does not undo the apply. When
/// the engine is dropped first, it answers [`crate::Error::Closed`]: the mutation was not acknowledged.
#[derive(Debug)]
#[must_use = "an apply is not durable before its ticket is ready"]
pub struct Ticket {
    outcome: Arc<Outcome>,
    /// Our place among the wakers of the group.
    index: usize,
    /// Our mutations among those of the group.
    mutations: Range<usize>,
}

impl Ticket {
    pub(crate) fn new(outcome: Arc<Outcome>, index: usize, mutations: Range<usize>) -> Self {
        Self { outcome, index, mutations }
    }

    /// Blocks until the outcome is known, but for what was outrun.
    ///
    /// # Errors
    /// [`crate::Error::Poisoned`] when the group's write or sync failed; the mutation may or may not survive.
    /// [`crate::Error::Closed`] when the engine was dropped before its group was committed.
    pub fn wait(self) -> Result<()> {
        let mut state = self.outcome.state.lock();
        loop {
            if let Some(result) = &state.result {
                return result.as_ref().map(drop).map_err(Clone::clone);
            }
            self.outcome.resolved.wait(&mut state);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Vec<(usize, Outrun)>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.outcome.state.lock();
        if let Some(outrun) = state.outrun_of(&self.mutations) {
            return Poll::Ready(outrun);
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
    /// The places in the group of the mutations that were outrun, ascending, and how.
    result: Option<Result<Vec<(usize, Outrun)>>>,
    wakers: Vec<Option<Waker>>,
}

impl State {
    /// Which of these mutations were outrun, by their places among them.
    fn outrun_of(&self, mutations: &Range<usize>) -> Option<Result<Vec<(usize, Outrun)>>> {
        let of_ours = |outrun: &Vec<(usize, Outrun)>| {
            let before = |end: usize| outrun.partition_point(|(place, _)| *place < end);
            let ours = &outrun[before(mutations.start)..before(mutations.end)];
            ours.iter().map(|(place, how)| (place - mutations.start, *how)).collect()
        };
        Some(self.result.as_ref()?.as_ref().map(of_ours).map_err(Clone::clone))
    }
}

impl Outcome {
    /// Tells every ticket, unless they know already: the places in the group of the mutations that were outrun, and how.
    pub(crate) fn resolve(&self, result: Result<Vec<(usize, Outrun)>>) {
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
