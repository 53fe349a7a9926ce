//! Waiting for room in the storage engine, without holding a thread.
//!
//! Near a bound writers are slowed down, each by what the engine asks for; at it they wait in turn until a flush or merge
//! has made room. Nothing of theirs is queued meanwhile, so who stops waiting has written nothing.

use std::time::Duration;

use helenus_storage::{Engine, Pressure};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};

/// How often the first of those who wait looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Timers are no finer; shorter delays are not worth one.
const SHORTEST_DELAY: Duration = Duration::from_micros(500);

/// The queue of those who wait.
#[derive(Debug, Default)]
pub(super) struct Room {
    turn: Mutex<()>,
}

impl Room {
    /// Waits as long as a writer is to be slowed down.
    pub(super) async fn slow_down(engine: &Engine) {
        if let Pressure::Slow { delay } = engine.pressure()
            && delay >= SHORTEST_DELAY
        {
            helenus_storage::sometimes!("a write was slowed down for its storage");
            sleep(delay).await;
        }
    }

    /// Returns when the engine accepts a write.
    ///
    /// # Errors
    /// The bound that was hit, when there is no room in time.
    pub(super) async fn wait(&self, engine: &Engine, until: Instant) -> Result<(), &'static str> {
        let Pressure::Refused { what } = engine.pressure() else { return Ok(()) };
        helenus_storage::sometimes!("a write waited for room in its storage");
        timeout_at(until, self.made(engine)).await.map_err(|_| what)
    }

    /// Returns when there is room, to one after the other.
    async fn made(&self, engine: &Engine) {
        let _turn = self.turn.lock().await;
        while let Pressure::Refused { .. } = engine.pressure() {
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Lets those go first who are in the way of a write that found the queue of the commit log full.
    pub(super) async fn make_way(&self) {
        let _turn = self.turn.lock().await;
        sleep(LOOK_INTERVAL).await;
    }
}
