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
    /// Returns when a writer may write: after the delay that the pressure asks for, or once there is room again.
    ///
    /// # Errors
    /// As [`Room::wait`].
    pub(super) async fn enter(&self, engine: &Engine, until: Instant) -> Result<(), &'static str> {
        match engine.pressure() {
            Pressure::Slow { delay } if delay >= SHORTEST_DELAY => {
                helenus_storage::sometimes!("a write was slowed down for its storage");
                sleep(delay).await;
                Ok(())
            }
            Pressure::None | Pressure::Slow { .. } => Ok(()),
            Pressure::Refused { what } => self.wait_for(engine, what, until).await,
        }
    }

    /// Returns when the engine accepts a write.
    ///
    /// # Errors
    /// The bound that was hit, when there is no room in time.
    pub(super) async fn wait(&self, engine: &Engine, until: Instant) -> Result<(), &'static str> {
        match engine.pressure() {
            Pressure::Refused { what } => self.wait_for(engine, what, until).await,
            Pressure::None | Pressure::Slow { .. } => Ok(()),
        }
    }

    async fn wait_for(
        &self,
        engine: &Engine,
        what: &'static str,
        until: Instant,
    ) -> Result<(), &'static str> {
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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use helenus_storage::{Mutation, Options, Record, Step, TableId, Timestamp, disk::SimulatedDisk};

    use super::*;

    const TABLE: TableId = TableId(1024);

    /// An engine whose memtables are full; nobody flushes them.
    fn full() -> Arc<Engine> {
        let options =
            Options { segment_bytes: 1 << 20, memtable_total_bytes: 64 << 10, ..Options::default() };
        let engine = Engine::open(Arc::new(SimulatedDisk::new(1)), Path::new("/data"), options);
        let engine = Arc::new(engine.expect("an empty disk"));
        engine.create_table(TABLE).expect("a sound disk");
        for key in 0_u32.. {
            let record = Record::plain(Timestamp(1), vec![0; 1000]);
            match engine.apply(TABLE, Mutation::single(key.to_be_bytes().to_vec(), record)) {
                Ok(_ticket) => engine.step(Step::Commit).map(drop).expect("a sound disk"),
                Err(_) => break,
            }
        }
        assert!(matches!(engine.pressure(), Pressure::Refused { .. }));
        engine
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_until_there_is_room_and_no_longer_than_it_may() {
        let (engine, room) = (full(), Room::default());
        let begun = Instant::now();

        let refused = room.wait(&engine, begun + Duration::from_secs(1)).await;

        assert_eq!((refused.is_err(), begun.elapsed()), (true, Duration::from_secs(1)));
        let (first, second, ()) = tokio::join!(
            room.wait(&engine, begun + Duration::from_secs(60)),
            room.wait(&engine, begun + Duration::from_secs(60)),
            async {
                sleep(Duration::from_secs(2)).await;
                while engine.step(Step::Flush).expect("a sound disk") == helenus_storage::StepOutcome::Worked
                {
                }
            },
        );
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert!(begun.elapsed() >= Duration::from_secs(3), "not before there was room");
        assert!(begun.elapsed() < Duration::from_secs(4), "and soon after");
    }
}
