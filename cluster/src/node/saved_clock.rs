//! The node's clock over a restart: a timestamp that is durable before any stamp reaches it.
//!
//! The newest stored record tells a restarted node most of what it stamped, but not what it wrote to others only. So a
//! bound is saved, ahead of the wall clock, and a write whose stamp lies beyond it waits until the next one is; after a
//! restart the clock begins at the bound. That is one sync in two seconds of writing, and nothing for a node that merely
//! reads. A node that is restarted before the wall clock has passed the bound waits for that, two seconds at most: stamps
//! from ahead of the wall clock win over later ones of other nodes (CockroachDB waits likewise). A bound further ahead was
//! saved since clients' own timestamps or a peer's clock were, or before the clock was put back, and is not waited for; a
//! loop of restarts does not push the clock away, since the bound follows a stamp that is ahead by milliseconds only.
//!
//! Rejected: saving each stamp, a sync more for every write; asking the other nodes, which may all be down.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use helenus_storage::{Engine, Mutation, Record, Timestamp};
use tokio::time::sleep;

use super::{StartError, clock::later, local_store::LocalStore, own_trees};
use crate::{message::ReplicaError, time::WallClock};

const KEY: &[u8] = b"clock";
/// How far ahead of the wall clock the bound is saved.
const AHEAD: Duration = Duration::from_secs(2);
/// How far ahead of a stamp, if that is itself ahead of the wall clock.
const AHEAD_OF_STAMP: Duration = Duration::from_millis(10);

/// The bound of one node. The default is that of a node that has saved none.
#[derive(Debug, Default)]
pub(crate) struct SavedClock {
    bound: AtomicU64,
    /// Held by whoever saves the next bound.
    saving: tokio::sync::Mutex<()>,
}

impl SavedClock {
    /// The bound that an earlier process has saved; zero if none has.
    pub(crate) fn load(engine: &Engine) -> Result<Self, StartError> {
        let saved = own_trees::read(engine, own_trees::IDENTITY, KEY)?;
        let bound = saved.map(|record| own_trees::decode::<u64>("clock", &record)).transpose()?.flatten();
        Ok(Self { bound: AtomicU64::new(bound.unwrap_or_default()), ..Self::default() })
    }

    /// Waits until the wall clock has passed the bound, if it does soon.
    pub(crate) async fn await_passed(&self, wall: &dyn WallClock) {
        let ahead = Duration::from_micros(self.bound().0.saturating_sub(wall.now().0));
        if ahead <= AHEAD && !ahead.is_zero() {
            helenus_storage::sometimes!("a restarted node waited for its clock");
            sleep(ahead).await;
        }
    }

    /// What no stamp of an earlier process is beyond.
    pub(crate) fn bound(&self) -> Timestamp {
        Timestamp(self.bound.load(Ordering::Acquire))
    }

    /// Returns once a stamp can be given out: it will be remembered.
    pub(crate) async fn cover(
        &self,
        stamp: Timestamp,
        now: Timestamp,
        store: &LocalStore,
    ) -> Result<(), ReplicaError> {
        if stamp <= self.bound() {
            return Ok(());
        }
        let _saving = self.saving.lock().await;
        if stamp <= self.bound() {
            return Ok(());
        }
        helenus_storage::sometimes!("a clock was saved");
        let bound = later(stamp, AHEAD_OF_STAMP).max(later(now, AHEAD));
        let record = Record::plain(bound, own_trees::encode(&bound.0));
        store.apply(own_trees::IDENTITY, Mutation::single(KEY, record)).await?;
        store.sync().await?;
        self.bound.store(bound.0, Ordering::Release);
        Ok(())
    }
}
