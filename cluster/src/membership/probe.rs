//! Whom this node takes for dead: suspicion by [`phi`](super::phi), conviction by probes.
//!
//! ```text
//!      ┌── φ ≥ threshold / 2: ping it, and have k others ping it; nobody reached it: once more
//!      ▼       φ ≥ threshold, or a connection refused or reset
//!   ALIVE ──────────────────────────────────────────────────────> SUSPECTED ──┐ ping it, and have k others ping it
//!     ▲  ▲        anyone reached it, or a heartbeat was heard         │   ▲    │
//!     │  └────────────────────────────────────────────────────────────┘   └────┘ nobody reached it: once more
//!     │                                                                │
//!     │ it has answered, called, or was reached by another             │ nobody reached it, twice so far
//!     └────────────────────────────── CONVICTED <──────────────────────┘
//! ```
//!
//! Probes begin before the suspicion, so that they are over when φ is as high as it must be: of a death among a thousand
//! nodes the silence alone takes seven seconds, and two rounds of probes after it another three. At half of the threshold
//! of 8 a live peer is probed once in ten thousand intervals, which costs next to nothing.
//!
//! The indirect probe is SWIM's (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group
//! Membership Protocol", DSN 2002, §3.1): a single bad link is no death, so k other members are asked to ping the
//! suspect on this node's behalf. SWIM spreads suspicions and convictions; here each node convicts for itself, and what
//! it believes is nobody else's fact: heartbeats spread instead, and a lie about a death has no way to travel.
//!
//! A conviction needs a silence that φ or a broken connection shows, and two rounds in which neither this node nor any
//! helper reached the suspect: a lossy network loses one message of them easily, all of them hardly ever. A round that
//! fails counts only if the suspect was not heard of since it began, and not within an interval: what fails that soon may
//! be older than the sign of life, such as an address that was dead until the peer came back. A convicted peer whose
//! heartbeat advances by hearsay is probed again, and only a success acquits it: stale rumors do not make a dead node
//! flap.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::phi::{Arrivals, Expectation};
use crate::node_id::HostId;

/// Of the threshold of suspicion, the part from which on a peer is probed.
const PROBED_FROM: f64 = 0.5;

/// What the detector goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectorSettings {
    /// Time between two heartbeats of a peer, and between two ticks.
    pub interval: Duration,
    /// φ from which on a peer is suspected.
    pub threshold: f64,
    /// Rounds of probes that must fail.
    pub rounds: u32,
}

impl DetectorSettings {
    /// The defaults, at an interval.
    pub fn every(interval: Duration) -> Self {
        Self { interval, threshold: 8.0, rounds: 2 }
    }
}

/// What a node thinks of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Heard of as often as usual.
    Alive,
    /// Silent for unlikely long, or its connection broke: probed.
    Suspected,
    /// Dead, as far as this node can tell.
    Convicted,
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing changes.
    Unchanged,
    /// To be probed once more, at once.
    Again,
    /// Taken for dead from now on.
    Convicted,
    /// Was taken for dead, and lives.
    Acquitted,
}

/// The failure detector of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureDetector {
    settings: DetectorSettings,
    peers: BTreeMap<HostId, Peer>,
    last_tick: Option<Instant>,
    convictions: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Peer {
    arrivals: Arrivals,
    belief: Belief,
    /// Rounds of probes that have failed in this silence.
    failed: u32,
    /// Whether a probe is under way.
    is_probed: bool,
    /// Whether it was heard of since that probe began.
    is_heard: bool,
    /// Whether there is a reason for the next probe.
    is_due: bool,
    /// Since when it is convicted.
    convicted_since: Option<Instant>,
}

impl FailureDetector {
    /// A detector that watches nobody yet.
    pub fn new(settings: DetectorSettings) -> Self {
        Self { settings, peers: BTreeMap::new(), last_tick: None, convictions: 0 }
    }

    /// What is believed of a peer; one that is not watched is alive.
    pub fn belief(&self, host_id: HostId) -> Belief {
        self.peers.get(&host_id).map_or(Belief::Alive, |peer| peer.belief)
    }

    /// Whether a peer is taken for dead.
    pub fn is_convicted(&self, host_id: HostId) -> bool {
        self.belief(host_id) == Belief::Convicted
    }

    /// The suspicion of a peer as a number.
    pub fn phi(&self, host_id: HostId, now: Instant) -> Option<f64> {
        self.peers.get(&host_id).map(|peer| peer.arrivals.phi(now))
    }

    /// How long a peer has been silent.
    pub fn silence(&self, host_id: HostId, now: Instant) -> Option<Duration> {
        self.peers.get(&host_id).map(|peer| peer.arrivals.silence(now))
    }

    /// Rounds of probes that have failed since a peer is silent.
    pub fn failed_probes(&self, host_id: HostId) -> u32 {
        self.peers.get(&host_id).map_or(0, |peer| peer.failed)
    }

    /// Since when a peer is taken for dead, if it is.
    pub fn convicted_since(&self, host_id: HostId) -> Option<Instant> {
        self.peers.get(&host_id)?.convicted_since
    }

    /// Convictions so far.
    pub fn convictions(&self) -> u64 {
        self.convictions
    }

    /// Watches these peers and no others: from now on they are expected to be heard of.
    pub fn watch(&mut self, peers: impl IntoIterator<Item = HostId>, now: Instant) {
        let expected = Expectation::every(self.settings.interval);
        let mut watched = BTreeMap::new();
        for host_id in peers {
            let peer = self.peers.remove(&host_id).unwrap_or_else(|| Peer {
                arrivals: Arrivals::new(expected, now),
                belief: Belief::Alive,
                failed: 0,
                is_probed: false,
                is_heard: false,
                is_due: false,
                convicted_since: None,
            });
            watched.insert(host_id, peer);
        }
        self.peers = watched;
    }

    /// A heartbeat of a peer has advanced, by whatever way it came.
    pub fn on_heartbeat(&mut self, host_id: HostId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&host_id) else { return };
        peer.arrivals.on_heartbeat(now);
        peer.is_heard = true;
        match peer.belief {
            Belief::Alive | Belief::Suspected => peer.acquit(),
            Belief::Convicted => peer.is_due = true,
        }
    }

    /// A peer has answered a call or made one: it lives.
    pub fn on_contact(&mut self, host_id: HostId, now: Instant) -> Verdict {
        self.peers.get_mut(&host_id).map_or(Verdict::Unchanged, |peer| peer.on_contact(now))
    }

    /// A connection to a peer was refused or reset: no need to wait for φ to suspect it.
    pub fn on_broken(&mut self, host_id: HostId) {
        let Some(peer) = self.peers.get_mut(&host_id) else { return };
        if peer.belief == Belief::Alive {
            peer.suspect();
        }
    }

    /// An interval has passed. What this node slept away counts as nobody's silence: its own pause (of the process, or
    /// of the machine) made all others silent at once.
    pub fn on_tick(&mut self, now: Instant) {
        let interval = self.settings.interval;
        let passed = self.last_tick.map_or(interval, |last| now.saturating_duration_since(last));
        self.last_tick = Some(now);
        if passed > interval * 2 {
            helenus_storage::sometimes!("a node noticed that it had slept");
            self.peers.values_mut().for_each(|peer| peer.arrivals.forgive(passed - interval));
        }
        for peer in self.peers.values_mut() {
            let phi = peer.arrivals.phi(now);
            match peer.belief {
                Belief::Alive if phi >= self.settings.threshold => peer.suspect(),
                Belief::Alive => peer.is_due |= phi >= self.settings.threshold * PROBED_FROM,
                // The last round may not have counted.
                Belief::Suspected => peer.is_due = true,
                Belief::Convicted => {}
            }
        }
    }

    /// The peers that are to be probed now; each until [`FailureDetector::on_probe`] says what came of it.
    pub fn due(&mut self) -> Vec<HostId> {
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.is_due && !peer.is_probed);
        due.map(|(host_id, peer)| {
            (peer.is_due, peer.is_probed, peer.is_heard) = (false, true, false);
            *host_id
        })
        .collect()
    }

    /// A round of probes has ended: whether this node or a helper reached the peer.
    pub fn on_probe(&mut self, host_id: HostId, is_reached: bool, now: Instant) -> Verdict {
        let Some(peer) = self.peers.get_mut(&host_id) else { return Verdict::Unchanged };
        if is_reached {
            let verdict = peer.on_contact(now);
            peer.is_probed = false;
            return verdict;
        }
        peer.is_probed = false;
        if peer.is_heard || peer.arrivals.silence(now) < self.settings.interval {
            return Verdict::Unchanged;
        }
        let phi = peer.arrivals.phi(now);
        match peer.belief {
            Belief::Convicted => return Verdict::Unchanged,
            Belief::Alive if phi < self.settings.threshold * PROBED_FROM => return Verdict::Unchanged,
            Belief::Alive if phi >= self.settings.threshold => peer.suspect(),
            Belief::Alive | Belief::Suspected => {}
        }
        peer.failed += 1;
        peer.is_due = peer.failed < self.settings.rounds;
        if peer.is_due {
            return Verdict::Again;
        }
        if peer.belief == Belief::Alive {
            // Too early: the next tick has it probed again, or suspected.
            return Verdict::Unchanged;
        }
        (peer.belief, peer.convicted_since) = (Belief::Convicted, Some(now));
        self.convictions += 1;
        Verdict::Convicted
    }
}

impl Peer {
    /// It has answered, or called. Heartbeats tell the rhythm; this only ends a silence that gave rise to probes.
    fn on_contact(&mut self, now: Instant) -> Verdict {
        let was_convicted = self.belief == Belief::Convicted;
        self.is_heard = true;
        if self.belief != Belief::Alive || self.is_due || self.is_probed || self.failed > 0 {
            self.arrivals.on_heartbeat(now);
            self.acquit();
        }
        if was_convicted { Verdict::Acquitted } else { Verdict::Unchanged }
    }

    fn suspect(&mut self) {
        (self.belief, self.is_due) = (Belief::Suspected, true);
    }

    fn acquit(&mut self) {
        (self.belief, self.failed, self.is_due) = (Belief::Alive, 0, false);
        self.convicted_since = None;
    }
}
