//! The door for requests of clients, with a bound that follows how long whoever is ready waits ([`crate::admission`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::admission::{Bound, FEWEST};

/// How often the wait is looked at, and how many looks make an interval.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const LOOKS: u32 = 20;

/// The door for requests of clients.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    bound: AtomicUsize,
    places: Arc<Semaphore>,
    /// Rings when so many are under way that they may wait for each other.
    bell: Notify,
}

impl Admission {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(most));
        Self { most, bound: AtomicUsize::new(most), places, bell: Notify::new() }
    }

    /// A place for one more request, if there is room.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if !self.has_room() {
            helenus_storage::sometimes!("a coordinator was full");
            return None;
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Whether there is room for one more at this moment.
    pub(crate) fn has_room(&self) -> bool {
        let under_way = self.under_way();
        if under_way >= FEWEST {
            self.bell.notify_one();
        }
        under_way < self.bound()
    }

    /// Requests that have a place.
    pub(crate) fn under_way(&self) -> usize {
        self.most - self.places.available_permits()
    }

    /// How many may have one at the moment.
    pub(crate) fn bound(&self) -> usize {
        self.bound.load(Relaxed)
    }

    /// Follows the wait on the runtime that it runs on, which is that of the requests, until the stop signal.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut bound = Bound::new(self.most);
        loop {
            // Nobody looks while there is nothing to see.
            if bound.is_highest() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.bell.notified() => {}
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                least_wait = least_wait() => bound.on_interval(least_wait, self.under_way()),
            }
            self.bound.store(bound.now(), Relaxed);
        }
    }
}

/// How long whoever is ready waits for a turn, at least, in an interval.
async fn least_wait() -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..LOOKS {
        sleep(LOOK_PAUSE).await;
        let ready = Instant::now();
        // To the end of the queue: whom a timer wakes may go first.
        yield_now().await;
        least = least.min(ready.elapsed());
    }
    least
}
