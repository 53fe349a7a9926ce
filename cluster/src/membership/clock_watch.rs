//! Whether this node's clock agrees with its peers'.
//!
//! A node cannot tell from its own clock that it is wrong, and replicas refuse only what comes from the future: an
//! hour behind, its writes are acknowledged and lose against all others; an hour ahead, its own replica keeps them, and
//! they win for an hour. So each exchange is used to compare clocks, and the median decides: as long as most of the
//! live nodes have the right time, it is right.
//!
//! A peer is compared by the timestamp in the header of its answer. That is its hybrid clock, which is its wall clock
//! or what it follows ahead of it, by the allowed drift at most: it is the time that the peer's writes will be stamped
//! with, so it is the one to agree with. A node whose peers are too far ahead to be followed cannot win over what they
//! write, whichever way they came there. Clients' own timestamps can put hybrid clocks ahead where all wall clocks are
//! right: that is no reason to take a record for expired, nor to say that a clock is off. So of the wall clocks, which
//! gossip measures, there is a median too ([`ClockWatch::wall_offset`]).
//!
//! Where no majority of the live nodes agrees, such as when one of three is down and another is wrong, what the clocks
//! of the dead said last decides: clocks move apart by seconds in a day. Of two nodes nobody can tell which is wrong:
//! ties go to this node's own clock, so both go on, and each refuses what comes from too far ahead.
//!
//! Gossip measures the wall clocks too, finer and for people ([`Measured`]): a peer that is off by more than the allowed
//! drift is named in the log, and in a fact ([`ClocksOff`]) that reaches everyone, itself included. Only a minority is
//! named: whose own clock is wrong finds all others off.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::digest::Delta;
use crate::{node_id::HostId, time::Timestamp};

/// How far the clocks of the peers are ahead of this node's, in microseconds; less than zero is behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClockWatch {
    /// The hybrid clocks of the live.
    offsets: BTreeMap<HostId, i64>,
    /// Of those that are down: what hybrid and wall clock were last.
    of_dead: BTreeMap<HostId, (i64, i64)>,
    measured: BTreeMap<HostId, Samples>,
}

/// How a peer's wall clock and the way to it were measured, by NTP's four timestamps (Mills, RFC 5905 §8). For people:
/// the middle of the round trip is the best guess, and [`offset_between`] what is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How far its clock is ahead, in microseconds; off by half of the round trip at most.
    pub offset_us: i64,
    /// How long question and answer were under way together, in microseconds.
    pub round_trip_us: u64,
}

impl Measured {
    /// From when the question was sent, came, was answered, and the answer came; the second and third by the peer's
    /// clock.
    pub fn of(sent: Timestamp, came: Timestamp, answered: Timestamp, returned: Timestamp) -> Self {
        let [sent, came, answered, returned] =
            [sent, came, answered, returned].map(|Timestamp(us)| i128::from(us));
        let offset = ((came - sent) + (answered - returned)) / 2;
        // Less than zero where one of the clocks was set meanwhile: that leaves as much open.
        let round_trip = (returned - sent) - (answered - came);
        Self {
            offset_us: i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }),
            round_trip_us: u64::try_from(round_trip.unsigned_abs()).unwrap_or(u64::MAX),
        }
    }
}

impl Measured {
    /// Whether no clock that stands still against this node's could have been measured as both: one of the two was set.
    fn contradicts(&self, other: &Self) -> bool {
        let open = (self.round_trip_us / 2).saturating_add(other.round_trip_us / 2);
        self.offset_us.abs_diff(other.offset_us) > open
    }

    /// How far off the clock is for certain, in microseconds: what the round trip leaves open counts for the peer.
    pub fn certain_us(&self) -> u64 {
        self.offset_us.unsigned_abs().saturating_sub(self.round_trip_us / 2)
    }

    /// As [`Measured::certain_us`]; less than zero if it is behind.
    pub fn certain(&self) -> i64 {
        0_i64.saturating_add_unsigned(self.certain_us()).saturating_mul(self.offset_us.signum())
    }
}

/// How a peer's clock was measured lately: NTP's clock filter (RFC 5905 §10). Of the last measurements, that of the
/// shortest round trip leaves the least open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Samples(VecDeque<Measured>);

impl Samples {
    /// As many as NTP's filter has stages.
    const MOST: usize = 8;

    fn add(&mut self, measured: Measured) {
        if self.0.iter().any(|earlier| earlier.contradicts(&measured)) {
            self.0.clear();
        }
        self.0.truncate(Self::MOST - 1);
        self.0.push_front(measured);
    }

    /// The best; of equals the latest.
    fn best(&self) -> Option<Measured> {
        self.0.iter().min_by_key(|measured| measured.round_trip_us).copied()
    }
}

/// The peers whose clocks one node finds far off, and by how many whole seconds they are ahead of its own. It says so in
/// the fact [`Tag::CLOCKS_OFF`](super::digest::Tag::CLOCKS_OFF): host id and seconds (i32 little-endian) of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClocksOff(pub BTreeMap<HostId, i32>);

impl ClocksOff {
    const ENTRY_BYTES: usize = 16 + 4;
    /// Peers that one fact has room for.
    const MAX: usize = Delta::MAX_FACT_BYTES / Self::ENTRY_BYTES;

    /// As a fact; the first of them, if they are too many.
    pub fn encode(&self) -> Vec<u8> {
        let entry = |(host_id, seconds): (&HostId, &i32)| {
            [&host_id.0.as_bytes()[..], &seconds.to_le_bytes()].concat()
        };
        self.0.iter().take(Self::MAX).flat_map(entry).collect()
    }

    /// From a fact; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let entry = |bytes: &[u8]| {
            let (host_id, seconds) = bytes.split_at_checked(16)?;
            let host_id = HostId(Uuid::from_slice(host_id).ok()?);
            Some((host_id, i32::from_le_bytes(seconds.try_into().ok()?)))
        };
        bytes.chunks(Self::ENTRY_BYTES).map(entry).collect::<Option<_>>().map(Self)
    }
}

impl ClockWatch {
    /// An exchange with a live peer has shown its offset ([`offset_between`]).
    pub fn note(&mut self, peer: HostId, offset: i64) {
        self.offsets.insert(peer, offset);
        self.of_dead.remove(&peer);
    }

    /// Gossip with a peer has measured its clock.
    pub fn measure(&mut self, peer: HostId, measured: Measured) {
        self.measured.entry(peer).or_default().add(measured);
    }

    /// The best of the last measurements of a live peer's clock.
    pub fn measured(&self, peer: HostId) -> Option<Measured> {
        self.measured.get(&peer)?.best()
    }

    /// The live peers whose clocks are off by more than `allowed_us` for certain; nobody, unless they are fewer than the
    /// others with this node.
    pub fn off(&self, allowed_us: u64) -> ClocksOff {
        let best = self.measured.iter().filter_map(|(host_id, samples)| Some((host_id, samples.best()?)));
        let off = best.filter(|(_, measured)| measured.certain_us() > allowed_us);
        // The nearest second, so that the same offset measured again is the same fact.
        let seconds = |us: i64| {
            let nearest = us.saturating_add(500_000).div_euclid(1_000_000);
            i32::try_from(nearest).unwrap_or(if us < 0 { i32::MIN } else { i32::MAX })
        };
        let off: BTreeMap<_, _> =
            off.map(|(host_id, measured)| (*host_id, seconds(measured.offset_us))).collect();
        let is_minority = 2 * off.len() < self.measured.len() + 1;
        if is_minority { ClocksOff(off) } else { ClocksOff::default() }
    }

    /// A peer is down: its clock is a witness only where those of the living disagree.
    pub fn forget(&mut self, peer: HostId) {
        if let Some(of_hybrid) = self.offsets.remove(&peer) {
            self.of_dead.insert(peer, (of_hybrid, self.of_wall(peer, of_hybrid)));
        }
        self.measured.remove(&peer);
    }

    /// How far the median of all live hybrid clocks, this node's included, is ahead of this node's wall clock; where most of
    /// them are not within `allowed_us` of it, that of the dead ones too.
    pub fn hybrid_offset(&self, allowed_us: u64) -> i64 {
        let live = self.offsets.values().copied().collect();
        median(live, self.of_dead.values().map(|(of_hybrid, _)| *of_hybrid), allowed_us)
    }

    /// Likewise of the wall clocks, as far as they were measured: a peer that was not counts with its hybrid clock.
    pub fn wall_offset(&self, allowed_us: u64) -> i64 {
        let live = self.offsets.iter().map(|(peer, of_hybrid)| self.of_wall(*peer, *of_hybrid)).collect();
        median(live, self.of_dead.values().map(|(_, of_wall)| *of_wall), allowed_us)
    }

    fn of_wall(&self, peer: HostId, of_hybrid: i64) -> i64 {
        self.measured(peer).map_or(of_hybrid, |measured| measured.certain())
    }
}

/// That of the living with this node, if most of them are within `allowed_us` of it; else with the dead.
fn median(live: Vec<i64>, dead: impl Iterator<Item = i64>, allowed_us: u64) -> i64 {
    let median = median_with_own(live.iter().copied());
    let agree = live.iter().chain([&0]).filter(|offset| offset.abs_diff(median) <= allowed_us).count();
    if 2 * agree > live.len() + 1 {
        return median;
    }
    helenus_storage::sometimes!("the clocks of the dead decided");
    median_with_own(live.into_iter().chain(dead))
}

/// How far a peer's clock, which it read as `theirs`, is ahead of this node's, which read `sent` before the request and
/// `received` after the answer. The peer's reading was made somewhere in between, and all that is possible there
/// counts as no offset: a slow answer is not a wrong clock. (The middle of the round trip would be the better guess,
/// but it is off by half of the round trip at worst, and a false alarm here turns writes away.)
pub fn offset_between(theirs: Timestamp, sent: Timestamp, received: Timestamp) -> i64 {
    // A wall clock may have been set back meanwhile.
    let (earliest, latest) = (sent.min(received), sent.max(received));
    let nearest = theirs.clamp(earliest, latest);
    let ahead = i128::from(theirs.0) - i128::from(nearest.0);
    i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
}

/// The median of these offsets and of zero, this node's own. Of two in the middle it is the one nearer to zero; since
/// zero is among the offsets, both are on the same side of it.
pub fn median_with_own(peers: impl IntoIterator<Item = i64>) -> i64 {
    let mut offsets: Vec<i64> = peers.into_iter().chain([0]).collect();
    offsets.sort_unstable();
    let (lower, upper) = (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2]);
    if lower.unsigned_abs() <= upper.unsigned_abs() { lower } else { upper }
}
