//! The door that requests of clients go through.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    bound::Bound,
    line::{Arrival, Line},
};

/// How often it is looked at how busy the threads are.
const INTERVAL: Duration = Duration::from_millis(100);

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Door {
    line: Mutex<Line<oneshot::Sender<Pass>>>,
    bound: Mutex<Bound>,
}

/// A request that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Door>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.line.lock().leave();
        self.0.call_next();
    }
}

impl Door {
    /// Lets everybody in, and so many at once while it is known that the threads are too busy ([`Door::watch`]). Who
    /// would wait for much longer than `long_wait` is refused then.
    pub(crate) fn new(bound_when_busy: usize, long_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            line: Mutex::new(Line::new(long_wait)),
            bound: Mutex::new(Bound::new(bound_when_busy)),
        })
    }

    /// Returns when the request may go on; `None` if there is no time for it.
    pub(crate) async fn enter(self: &Arc<Self>) -> Option<Pass> {
        let turn = {
            let (mut line, now) = (self.line.lock(), Instant::now());
            match line.arrive(now) {
                Arrival::Enters => return Some(Pass(Arc::clone(self))),
                Arrival::Refused => return None,
                Arrival::Waits => {
                    let (sender, turn) = oneshot::channel();
                    line.join(now, sender);
                    turn
                }
            }
        };
        turn.await.ok()
    }

    /// Follows how busy the threads of the runtime are that this runs on, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut before = (Instant::now(), busy_time());
        loop {
            sleep(INTERVAL).await;
            let after = (Instant::now(), busy_time());
            let threads = Handle::current().metrics().num_workers();
            let available = (after.0 - before.0) * u32::try_from(threads).unwrap_or(u32::MAX);
            let worked = after.1.saturating_sub(before.1);
            before = after;
            self.on_interval(worked.as_secs_f64() / available.as_secs_f64(), after.0);
        }
    }

    /// The threads have worked for this share of an interval.
    fn on_interval(self: &Arc<Self>, share: f64, now: Instant) {
        let overdue = {
            let mut line = self.line.lock();
            let bound = self.bound.lock().on_interval(share, line.is_waiting());
            line.set_bound(bound);
            line.take_overdue(now)
        };
        // They are refused.
        drop(overdue);
        self.call_next();
    }

    /// Calls all for whom there is room.
    fn call_next(self: &Arc<Self>) {
        loop {
            let Some(next) = self.line.lock().next(oneshot::Sender::is_closed) else { return };
            // Whoever hangs up at this moment drops its pass.
            let _: Result<(), Pass> = next.send(Pass(Arc::clone(self)));
        }
    }
}

/// How long all threads of the runtime have worked.
fn busy_time() -> Duration {
    let metrics = Handle::current().metrics();
    (0..metrics.num_workers()).map(|thread| metrics.worker_total_busy_duration(thread)).sum()
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn requests_wait_for_each_other_while_the_threads_are_too_busy() {
        let door = Door::new(1, Duration::from_millis(200));
        door.on_interval(1.0, Instant::now());
        let first = door.enter().now_or_never().flatten().expect("there is room for one");
        let mut second = Box::pin(door.enter());
        assert!(poll!(&mut second).is_pending());
        let mut third = Box::pin(door.enter());
        assert!(poll!(&mut third).is_pending());

        drop(first);
        let second = second.now_or_never().flatten().expect("it is its turn");
        assert!(poll!(&mut third).is_pending());

        door.on_interval(0.0, Instant::now());
        assert!(third.now_or_never().flatten().is_some(), "the threads have time again");
        drop(second);
    }

    #[tokio::test]
    async fn whoever_hangs_up_in_line_takes_no_room() {
        let door = Door::new(1, Duration::from_millis(200));
        door.on_interval(1.0, Instant::now());
        let first = door.enter().await.expect("there is room for one");
        let (mut gone, mut called) = (Box::pin(door.enter()), Box::pin(door.enter()));
        let mut last = Box::pin(door.enter());
        assert!(
            poll!(&mut gone).is_pending() && poll!(&mut called).is_pending() && poll!(&mut last).is_pending()
        );

        drop(gone);
        drop(first);
        // It was its turn, and it never knew.
        drop(called);
        assert!(last.now_or_never().flatten().is_some());
        assert!(door.enter().now_or_never().flatten().is_some(), "the door is as before");
    }

    #[tokio::test]
    async fn a_line_that_stands_still_is_dissolved() {
        let door = Door::new(1, Duration::from_millis(200));
        door.on_interval(1.0, Instant::now());
        let _for_ever = door.enter().await.expect("there is room for one");
        let mut second = Box::pin(door.enter());
        assert!(poll!(&mut second).is_pending());

        door.on_interval(1.0, Instant::now() + Duration::from_secs(1));
        assert!(second.now_or_never().expect("it has waited too long").is_none());
    }
}
