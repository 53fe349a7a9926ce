//! What this node has heard of the others and what it believes of them: the pure parts of gossip and failure detection
//! behind one lock, and the count of what was not believed.
//!
//! Nothing of it is saved: who lives is nobody's fact but this node's, and everything else comes again with the next
//! round. Descriptions of members come here only from the published picture ([`super::known_cluster`]), so what is told
//! to others is durable.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    membership::{
        Belief, DetectorSettings, FailureDetector, Flaw, Member, Rumors, Verdict, View,
        digest::{Ack, Delta, Digest, Fact, Syn, Tag},
        gossip::News,
    },
    node_id::HostId,
    settings::Settings,
    time::Timestamp,
};

/// Gossip and failure detection of one node.
#[derive(Debug)]
pub(crate) struct Hearsay {
    state: Mutex<State>,
    /// Facts that were not believed.
    rejected: AtomicU64,
    /// Messages of other clusters, which were not looked at.
    foreign: AtomicU64,
}

#[derive(Debug)]
struct State {
    rumors: Rumors,
    detector: FailureDetector,
    /// Which part of the members the next first message compares.
    part: usize,
}

impl Hearsay {
    pub(super) fn new(settings: &Settings, view: &View) -> Self {
        let detector = FailureDetector::new(DetectorSettings {
            threshold: settings.phi_threshold,
            ..DetectorSettings::every(settings.gossip_interval)
        });
        let rumors = Rumors::new(Arc::new(view.own().clone()));
        let state = State { rumors, detector, part: 0 };
        let hearsay =
            Self { state: Mutex::new(state), rejected: AtomicU64::new(0), foreign: AtomicU64::new(0) };
        let all = view.members().chain(view.gone());
        hearsay.publish(view, &all.map(|member| member.host_id).collect::<Vec<_>>());
        hearsay
    }

    /// The picture has changed: from now on these members' descriptions are told, and its members watched.
    pub(super) fn publish(&self, view: &View, changed: &[HostId]) {
        let mut state = self.state.lock();
        for member in changed.iter().filter_map(|host_id| view.known(*host_id)) {
            state.rumors.describe(Arc::new(member.clone()));
        }
        let others = view.others().map(|member| member.host_id);
        state.detector.watch(others, Instant::now().into_std());
    }

    /// An interval has passed.
    pub(crate) fn beat(&self) {
        let mut state = self.state.lock();
        state.rumors.beat();
        state.detector.on_tick(Instant::now().into_std());
    }

    /// Says something of this node.
    pub(crate) fn tell(&self, tag: Tag, bytes: Vec<u8>) {
        self.state.lock().rumors.tell(tag, bytes);
    }

    pub(crate) fn syn(&self) -> Syn {
        let mut state = self.state.lock();
        state.part += 1;
        state.rumors.syn(state.part)
    }

    pub(crate) fn ping(&self) -> Syn {
        let mut state = self.state.lock();
        state.part += 1;
        state.rumors.ping(state.part)
    }

    /// Answers a first message, and says what of it was not believed.
    pub(super) fn on_syn(&self, syn: &Syn, now: Timestamp) -> (Ack, Vec<(HostId, Flaw)>) {
        let mut state = self.state.lock();
        let (ack, news) = state.rumors.on_syn(syn, now);
        let flaws = state.note(news);
        (ack, flaws)
    }

    /// Takes the heartbeats of a second message.
    pub(super) fn on_ack(&self, ack: &Ack, now: Timestamp) -> Vec<(HostId, Flaw)> {
        let mut state = self.state.lock();
        let news = state.rumors.on_ack(ack, now);
        state.note(news)
    }

    /// Takes deltas whose descriptions the view believes.
    pub(super) fn accept(&self, deltas: &[Delta], now: Timestamp) -> Vec<(HostId, Flaw)> {
        let mut state = self.state.lock();
        let news = state.rumors.accept(deltas, now);
        state.note(news)
    }

    pub(crate) fn wanted(&self, wanted: &[Digest]) -> Vec<Delta> {
        self.state.lock().rumors.wanted(wanted)
    }

    /// So many facts were not believed.
    pub(super) fn count_rejected(&self, facts: usize) {
        self.rejected.fetch_add(facts as u64, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Gossip, or an exchange, was of another cluster.
    pub(super) fn count_foreign(&self) {
        self.foreign.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    pub(super) fn digest(&self, host_id: HostId) -> Option<Digest> {
        self.state.lock().rumors.digest(host_id)
    }

    pub(super) fn facts(&self, host_id: HostId) -> Vec<(Tag, Fact)> {
        self.state.lock().rumors.facts(host_id).map(|(tag, fact)| (tag, fact.clone())).collect()
    }

    /// One of them.
    pub(super) fn fact(&self, host_id: HostId, wanted: Tag) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.rumors.facts(host_id).find(|(tag, _)| *tag == wanted).map(|(_, fact)| fact.bytes.clone())
    }

    /// Members that are to be probed now.
    pub(crate) fn due(&self) -> Vec<HostId> {
        self.state.lock().detector.due()
    }

    pub(super) fn on_contact(&self, host_id: HostId) -> Verdict {
        self.state.lock().detector.on_contact(host_id, Instant::now().into_std())
    }

    pub(super) fn on_broken(&self, host_id: HostId) {
        self.state.lock().detector.on_broken(host_id);
    }

    pub(super) fn on_probe(&self, host_id: HostId, is_reached: bool) -> Verdict {
        self.state.lock().detector.on_probe(host_id, is_reached, Instant::now().into_std())
    }

    pub(super) fn belief(&self, host_id: HostId) -> Belief {
        self.state.lock().detector.belief(host_id)
    }

    pub(super) fn is_convicted(&self, host_id: HostId) -> bool {
        self.state.lock().detector.is_convicted(host_id)
    }

    /// φ and the silence in which it has accrued.
    pub(super) fn suspicion(&self, host_id: HostId) -> Option<(f64, std::time::Duration)> {
        let now = Instant::now().into_std();
        let detector = &self.state.lock().detector;
        Some((detector.phi(host_id, now)?, detector.silence(host_id, now)?))
    }

    pub(super) fn failed_probes(&self, host_id: HostId) -> u32 {
        self.state.lock().detector.failed_probes(host_id)
    }

    /// For how long a member is taken for dead, if it is.
    pub(super) fn convicted_for(&self, host_id: HostId) -> Option<std::time::Duration> {
        let since = self.state.lock().detector.convicted_since(host_id)?;
        Some(Instant::now().into_std().saturating_duration_since(since))
    }

    pub(super) fn convictions(&self) -> u64 {
        self.state.lock().detector.convictions()
    }
}

impl State {
    fn note(&mut self, news: News) -> Vec<(HostId, Flaw)> {
        let now = Instant::now().into_std();
        let beating: BTreeSet<HostId> = news.beating;
        beating.into_iter().for_each(|host_id| self.detector.on_heartbeat(host_id, now));
        news.flaws
    }
}

/// Of deltas, the descriptions that `view` does not have.
pub(super) fn unknown_descriptions<'a>(deltas: &'a [Delta], view: &View, now: Timestamp) -> Vec<&'a Member> {
    let descriptions = deltas
        .iter()
        .filter(|delta| delta.check(now).is_ok())
        .filter_map(|delta| delta.description.as_deref());
    descriptions.filter(|member| view.known(member.host_id) != Some(member)).collect()
}
