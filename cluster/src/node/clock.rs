//! The node's clock: the wall clock it was given, the hybrid clock that stamps its writes, and whether the two and the
//! peers' agree well enough to stamp anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{local_store::LocalStore, saved_clock::SavedClock};
use crate::{
    hybrid_clock::{HybridClock, Observed},
    membership::{
        ClockWatch,
        clock_watch::{ClocksOff, Measured, offset_between},
    },
    message::ReplicaError,
    node_id::HostId,
    time::{Timestamp, WallClock},
};

/// Shared by all parts of a node.
#[derive(Debug)]
pub(crate) struct NodeClock {
    wall: Arc<dyn WallClock>,
    hybrid: HybridClock,
    saved: SavedClock,
    allowed_drift: Duration,
    watch: Mutex<ClockWatch>,
    /// The last reading for ages, and when it was taken.
    ages: Mutex<(Timestamp, Instant)>,
    /// What `watch` says of the hybrid clocks, for every write to look at.
    hybrid_offset_us: AtomicI64,
    /// And of the wall clocks, for every read.
    wall_offset_us: AtomicI64,
}

impl NodeClock {
    /// The clock of a node whose newest stored user record has this timestamp: it stamps above it, and above what was
    /// saved of it.
    pub(crate) fn new(
        wall: Arc<dyn WallClock>,
        allowed_drift: Duration,
        newest_stored: Timestamp,
        saved: SavedClock,
    ) -> Self {
        Self {
            wall,
            hybrid: HybridClock::starting_at(newest_stored.max(saved.bound())),
            saved,
            allowed_drift,
            watch: Mutex::default(),
            ages: Mutex::new((Timestamp(0), Instant::now())),
            hybrid_offset_us: AtomicI64::new(0),
            wall_offset_us: AtomicI64::new(0),
        }
    }

    /// The wall clock: expiry, deletion times and the `now` of reads.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall.now()
    }

    /// The `now` of a read: the wall clock; that of the live nodes' median, where this one is known to be off by more than
    /// is allowed, so that it takes nothing for expired that lives.
    pub(crate) fn trusted_now(&self) -> Timestamp {
        let (now, offset) = (self.wall.now(), self.wall_offset_us());
        if !self.is_off(offset) {
            return now;
        }
        helenus_storage::sometimes!("a node went by the other nodes' clocks");
        Timestamp(now.0.saturating_add_signed(offset))
    }

    /// A timestamp for a write, above all that this node stamped or followed before.
    pub(crate) fn stamp(&self) -> Timestamp {
        self.hybrid.stamp(self.wall.now())
    }

    /// Likewise, above this one as well; none if that is too far ahead.
    pub(crate) fn stamp_above(&self, timestamp: Timestamp) -> Option<Timestamp> {
        if timestamp >= self.latest_accepted() {
            return None;
        }
        self.observe(timestamp);
        Some(self.stamp()).filter(|stamp| *stamp > timestamp)
    }

    /// Returns once a stamp can be given out: a later process of this node stamps above it.
    pub(crate) async fn cover(&self, stamp: Timestamp, store: &LocalStore) -> Result<(), ReplicaError> {
        self.saved.cover(stamp, self.wall.now(), store).await
    }

    /// The reading that messages carry.
    pub(crate) fn reading(&self) -> Timestamp {
        self.hybrid.latest().max(self.wall.now())
    }

    /// The clock of ages: never behind the reading above nor behind what it said before, and it goes on where the wall
    /// clock was put back. By how much it is ahead of the wall clock means nothing; only what lies between two readings
    /// does.
    pub(crate) fn now_of_ages(&self) -> Timestamp {
        let mut last = self.ages.lock();
        let now = Instant::now();
        let (said, at) = *last;
        *last = (self.reading().max(later(said, now - at)), now);
        last.0
    }

    /// What the wall clock showed, or would have by what it shows now, when this was read from the clock of ages, which a
    /// client's own timestamps may have put ahead.
    pub(crate) fn wall_time_of(&self, read: Timestamp) -> Timestamp {
        let age = Duration::from_micros(self.now_of_ages().0.saturating_sub(read.0));
        earlier(self.wall.now(), age)
    }

    /// How far two clocks may be apart that are both within the drift of the others' median.
    pub(crate) fn margin(&self) -> Duration {
        2 * self.allowed_drift
    }

    /// Takes notice of another node's reading, or of a record's timestamp. One beyond the allowed drift is not
    /// followed; writes stamped with it are refused where they arrive, so nothing more is to be done about it here.
    pub(crate) fn observe(&self, timestamp: Timestamp) {
        if self.hybrid.observe(timestamp, self.wall.now(), self.allowed_drift) == Observed::TooFarAhead {
            helenus_storage::sometimes!("a remote clock was not followed");
        }
    }

    /// Up to which timestamp a version may have been superseded by what every replica has forgotten: other coordinators
    /// judge the grace by clocks that may be off by the drift.
    pub(crate) fn forgettable(&self, forgotten_before: Timestamp) -> Timestamp {
        later(forgotten_before, self.allowed_drift)
    }

    /// The highest write timestamp that is accepted from a client now.
    pub(crate) fn latest_accepted(&self) -> Timestamp {
        later(self.wall.now(), self.allowed_drift)
    }

    /// The highest timestamp of a write that another node coordinates which is accepted now. A node that knows that it is
    /// off judges others by their median, as it does when it reads: it stamps nothing, but it is a replica all the same. So
    /// does one whose clock is behind what most of them stamp with.
    pub(crate) fn latest_accepted_of_peers(&self) -> Timestamp {
        let (now, offset) = (self.trusted_now(), self.hybrid_offset_us());
        let most_stamp_with = match self.is_off(offset) {
            true => Timestamp(self.wall.now().0.saturating_add_signed(offset)),
            false => now,
        };
        later(now.max(most_stamp_with), self.allowed_drift)
    }

    /// A live peer has answered an exchange with the reading `theirs`, between `sent` and `received` by this node's
    /// wall clock.
    pub(crate) fn compare(&self, peer: HostId, theirs: Timestamp, sent: Timestamp, received: Timestamp) {
        self.change_watch(|watch| watch.note(peer, offset_between(theirs, sent, received)));
    }

    /// Gossip has measured a live peer's clock.
    pub(crate) fn measure(&self, peer: HostId, measured: Measured) {
        self.change_watch(|watch| watch.measure(peer, measured));
    }

    /// What is to be said of a live peer's clock if it is off by more than allowed for certain.
    pub(crate) fn off(&self, peer: HostId) -> Option<String> {
        let measured = self.measured(peer)?;
        (Duration::from_micros(measured.certain_us()) > self.allowed_drift).then(|| {
            let by = whole_millis(measured.offset_us.unsigned_abs());
            let way = if measured.offset_us < 0 { "behind" } else { "ahead of" };
            format!("{by:?} {way} this node's, allowed are {:?}", self.allowed_drift)
        })
    }

    /// The live peers whose clocks are far off, if they are a minority.
    pub(crate) fn peers_off(&self) -> ClocksOff {
        self.watch.lock().off(self.allowed_us())
    }

    fn allowed_us(&self) -> u64 {
        u64::try_from(self.allowed_drift.as_micros()).unwrap_or(u64::MAX)
    }

    /// How far the median of the live nodes' hybrid clocks is ahead of this node's wall clock, in microseconds.
    fn hybrid_offset_us(&self) -> i64 {
        self.hybrid_offset_us.load(Ordering::Relaxed)
    }

    fn is_off(&self, offset_us: i64) -> bool {
        Duration::from_micros(offset_us.unsigned_abs()) > self.allowed_drift
    }

    /// How far the median of the live nodes' wall clocks is ahead of this node's, in microseconds.
    pub(crate) fn wall_offset_us(&self) -> i64 {
        self.wall_offset_us.load(Ordering::Relaxed)
    }

    /// How a peer's clock was measured: the best of the last measurements.
    pub(crate) fn measured(&self, peer: HostId) -> Option<Measured> {
        self.watch.lock().measured(peer)
    }

    /// A peer is down.
    pub(crate) fn forget(&self, peer: HostId) {
        self.change_watch(|watch| watch.forget(peer));
    }

    fn change_watch(&self, change: impl FnOnce(&mut ClockWatch)) {
        let mut watch = self.watch.lock();
        change(&mut watch);
        self.hybrid_offset_us.store(watch.hybrid_offset(self.allowed_us()), Ordering::Relaxed);
        self.wall_offset_us.store(watch.wall_offset(self.allowed_us()), Ordering::Relaxed);
    }

    /// Why this node must not stamp writes now, if so: they would lose, or win for too long.
    pub(crate) fn skew(&self) -> Option<String> {
        let drift = self.allowed_drift;
        let (latest, now) = (self.hybrid.latest(), self.wall.now());
        if latest >= later(now, drift) {
            let ahead = whole_millis(latest.0.saturating_sub(now.0));
            return Some(format!(
                "it is {ahead:?} behind the newest timestamp that this node stored or followed, allowed are {drift:?}"
            ));
        }
        let apart = |offset: i64, from: &str| {
            let (by, way) =
                (whole_millis(offset.unsigned_abs()), if offset < 0 { "ahead of" } else { "behind" });
            format!("it is {by:?} {way} {from}; allowed are {drift:?}")
        };
        let (of_walls, of_hybrids) = (self.wall_offset_us(), self.hybrid_offset_us());
        if self.is_off(of_walls) {
            return Some(apart(of_walls, "the median of the live nodes' clocks"));
        }
        let what_most_stamp_with = "what most of the live nodes stamp writes with, as after a client's own timestamp from \
                                    ahead of their clocks";
        self.is_off(of_hybrids).then(|| apart(of_hybrids, what_most_stamp_with))
    }
}

/// A timestamp and a duration; the end of time when they do not fit.
pub(crate) fn later(timestamp: Timestamp, by: Duration) -> Timestamp {
    Timestamp(timestamp.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

/// A timestamp less a duration; the beginning of time when they do not fit.
pub(crate) fn earlier(timestamp: Timestamp, by: Duration) -> Timestamp {
    Timestamp(timestamp.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

/// Microseconds are no news to an operator.
fn whole_millis(micros: u64) -> Duration {
    Duration::from_millis(micros / 1000)
}
