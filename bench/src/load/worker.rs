//! One thread of clients.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::task::{JoinSet, LocalSet};

use super::{
    course::Course,
    plan::{Plan, Shared},
};
use crate::measurement::{Parcel, ProcessorTime, Recorder};

/// A thread and its clients: every `plan.threads`th from `number` on.
pub(super) struct Worker {
    pub(super) plan: Plan,
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
    pub(super) interval: Duration,
    pub(super) parcels: SyncSender<Parcel>,
}

impl Worker {
    /// Runs to the end; the processor time it took.
    pub(super) fn run(self) -> io::Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.drive())?;
        Ok(ProcessorTime::of_thread())
    }

    async fn drive(self) -> io::Result<()> {
        let Self { plan, shared, number, interval, parcels } = self;
        let recorder = Rc::new(RefCell::new(Recorder::new(number, shared.measured_from, interval, parcels)));
        let mut courses = JoinSet::new();
        for client in (number..plan.clients).step_by(plan.threads) {
            let course = Course::new(&plan, Arc::clone(&shared), client, Rc::clone(&recorder))?;
            courses.spawn_local(course.run());
        }
        // Intervals are over on time although no operation may end in them.
        let mut clock = tokio::time::interval(interval / 4);
        let outcome = loop {
            tokio::select! {
                biased;
                ended = courses.join_next() => match ended {
                    None => break Ok(()),
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => break Err(error),
                    Some(Err(panic)) => break Err(io::Error::other(panic)),
                },
                _ = clock.tick() => recorder.borrow_mut().hand_on(Instant::now()),
            }
        };
        drop(courses);
        if let Some(recorder) = Rc::into_inner(recorder) {
            recorder.into_inner().close();
        }
        outcome
    }
}
