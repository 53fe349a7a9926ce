//! Scuttlebutt: each node keeps a map of what it has heard of every member, and two nodes that meet even theirs out.
//!
//! van Renesse, Dumitriu, Gough, Thomas: "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (LADIS
//! 2008), §3, with the three messages of Apache Cassandra: digests go one way, the difference comes back with the wish
//! for its opposite, which goes the same way as the digests did. So each meeting pushes and pulls, and news that one of
//! n nodes has reaches all in O(log n) rounds (Demers et al., PODC 1987, §1.4).
//!
//! ```text
//!   of each member   incarnation ─┬─ heartbeat      a number: travels in the digests themselves
//!                                 ├─ description    one unit with one version: the ring is made of it
//!                                 └─ facts          tag → (version, bytes), versions in the order of saying
//! ```
//!
//! Only the member itself counts up; others keep the highest. Facts of a member are sent in the order of their
//! versions, so "up to version v" says all that is known of it, also where a message is full. Of members, those come
//! first of which this node has heard news last. A higher incarnation replaces everything of a lower one.
//!
//! The paper keeps one version for all that a member says. Here the description has its own, which the full
//! [`Exchange`](super::Exchange) of joining nodes carries too: whichever way it comes first, nothing is missed.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use super::{
    digest::{Ack, Delta, Digest, Fact, Incarnation, MAX_DELTA_BYTES, MAX_DIGESTS, Span, Syn, Tag},
    member::{Flaw, MAX_MEMBERS, Member, MemberState},
};
use crate::{node_id::HostId, time::Timestamp};

/// Digests of others in a ping, of some thirty bytes each. In a large cluster they decide how old a heartbeat is when it
/// has come round, and so how long a silence must be to be unlikely.
const PINGED_DIGESTS: usize = 512;

/// What one node has heard of all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rumors {
    own: HostId,
    members: BTreeMap<HostId, Heard>,
    /// Counts the news, to tell which came last.
    news: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    description: Arc<Member>,
    heartbeat: u64,
    told: u64,
    facts: BTreeMap<Tag, Fact>,
    /// When among all news the last of it came.
    news: u64,
}

/// What a message taught beyond what it is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Members that live: their heartbeat has advanced.
    pub beating: BTreeSet<HostId>,
    /// Members of which something else was new.
    pub changed: BTreeSet<HostId>,
    /// What was not believed.
    pub flaws: Vec<(HostId, Flaw)>,
}

impl Rumors {
    /// A node that knows itself.
    pub fn new(own: Arc<Member>) -> Self {
        let mut rumors = Self { own: own.host_id, members: BTreeMap::new(), news: 0 };
        rumors.describe(own);
        rumors
    }

    /// The view has a description, durably: from now on it is told to others. An older one than is known changes
    /// nothing.
    pub fn describe(&mut self, member: Arc<Member>) {
        let host_id = member.host_id;
        let news = self.next_news();
        let anew = || Heard {
            description: Arc::clone(&member),
            heartbeat: 0,
            told: 0,
            facts: BTreeMap::new(),
            news,
        };
        let heard = self.members.entry(host_id).or_insert_with(anew);
        match incarnation(&member).cmp(&incarnation(&heard.description)) {
            Ordering::Greater if host_id == self.own => {
                // Its own facts are as true in its next life.
                heard.description = member;
                heard.news = news;
            }
            Ordering::Greater => *heard = anew(),
            Ordering::Equal if heard.description.rank() < member.rank() => {
                heard.description = member;
                heard.news = news;
            }
            _ => {}
        }
    }

    /// This node has lived through another interval.
    pub fn beat(&mut self) {
        let own = self.own_mut();
        own.heartbeat += 1;
    }

    /// This node says something of itself; what it has said before is not repeated, and nothing only takes something
    /// back.
    pub fn tell(&mut self, tag: Tag, bytes: Vec<u8>) {
        let news = self.next_news();
        let own = self.own_mut();
        if own.facts.get(&tag).map_or(bytes.is_empty(), |fact| fact.bytes == bytes) {
            return;
        }
        own.told += 1;
        let version = own.told;
        own.facts.insert(tag, Fact { version, bytes });
        own.news = news;
    }

    /// What is known of a member, in numbers.
    pub fn digest(&self, host_id: HostId) -> Option<Digest> {
        self.members.get(&host_id).map(Heard::digest)
    }

    /// The other facts of a member.
    pub fn facts(&self, host_id: HostId) -> impl Iterator<Item = (Tag, &Fact)> {
        self.members.get(&host_id).into_iter().flat_map(|heard| &heard.facts).map(|(tag, fact)| (*tag, fact))
    }

    /// The first message to another node. With more members than fit, `part` chooses which of them are compared.
    pub fn syn(&self, part: usize) -> Syn {
        let parts = self.members.len().div_ceil(MAX_DIGESTS).max(1);
        let first = part % parts * MAX_DIGESTS;
        let digests: Vec<Digest> =
            self.members.values().skip(first).take(MAX_DIGESTS).map(Heard::digest).collect();
        let mut span = Span::all();
        if let Some(digest) = digests.first()
            && first > 0
        {
            span.from = digest.host_id;
        }
        // Up to the next part's first, so that who is unknown here is in one part.
        if let Some((next, _)) = self.members.iter().nth(first + MAX_DIGESTS) {
            span.to = HostId(uuid::Uuid::from_u128(next.0.as_u128() - 1));
        }
        Syn { span, digests }
    }

    /// A first message that is always short: that this node lives, and how some others stand; `part` chooses which. So
    /// heartbeats spread with everything that is sent (SWIM's piggybacking, §3.2), and a death is noticed sooner.
    pub fn ping(&self, part: usize) -> Syn {
        let others = self.members.len() - 1;
        let first = part.wrapping_mul(PINGED_DIGESTS) % others.max(1);
        let heard = self.members.values().filter(|heard| heard.description.host_id != self.own);
        let around = heard.clone().skip(first).chain(heard.take(first));
        let digests = around.take(PINGED_DIGESTS).map(Heard::digest);
        Syn { span: Span::of(self.own), digests: [self.own().digest()].into_iter().chain(digests).collect() }
    }

    /// Answers a first message. Here and below, `now` is this node's clock, by which claims are judged.
    pub fn on_syn(&mut self, syn: &Syn, now: Timestamp) -> (Ack, News) {
        let mut news = News::default();
        let (mut wanted, mut younger, mut lacking) = (Vec::new(), Vec::new(), Vec::new());
        let mut named = BTreeSet::new();
        for theirs in &syn.digests {
            named.insert(theirs.host_id);
            if let Err(flaw) = theirs.check(now) {
                news.flaws.push((theirs.host_id, flaw));
                continue;
            }
            self.take_heartbeat(theirs, &mut news);
            let Some(heard) = self.members.get(&theirs.host_id) else {
                wanted.push(Digest::nothing(theirs.host_id));
                continue;
            };
            let ours = heard.digest();
            if theirs.exceeds(&ours) {
                wanted.push(ours);
            }
            if ours.exceeds(theirs) {
                lacking.push((heard.news, *theirs));
            } else if ours.incarnation() == theirs.incarnation() && ours.heartbeat > theirs.heartbeat {
                younger.push(ours);
            }
        }
        let range = (Bound::Included(syn.span.from), Bound::Included(syn.span.to));
        if syn.span.from <= syn.span.to {
            let unnamed = self.members.range(range).filter(|(host_id, _)| !named.contains(host_id));
            lacking.extend(unnamed.map(|(host_id, heard)| (heard.news, Digest::nothing(*host_id))));
        }
        wanted.truncate(MAX_DIGESTS);
        younger.truncate(MAX_DIGESTS);
        (Ack { own: self.own().digest(), wanted, younger, deltas: self.deltas(lacking) }, news)
    }

    /// Takes the heartbeats of an answer. Its deltas go through [`Rumors::accept`] when the view has taken their
    /// descriptions.
    pub fn on_ack(&mut self, ack: &Ack, now: Timestamp) -> News {
        let mut news = News::default();
        for digest in ack.younger.iter().chain([&ack.own]) {
            match digest.check(now) {
                Ok(()) => self.take_heartbeat(digest, &mut news),
                Err(flaw) => news.flaws.push((digest.host_id, flaw)),
            }
        }
        news
    }

    /// What another node wants, for the third message.
    pub fn wanted(&self, wanted: &[Digest]) -> Vec<Delta> {
        let known = wanted.iter().filter_map(|digest| {
            let heard = self.members.get(&digest.host_id)?;
            heard.digest().exceeds(digest).then_some((heard.news, *digest))
        });
        self.deltas(known.collect())
    }

    /// Learns what another node knows more. The descriptions in it are durable; commutative, associative and
    /// idempotent over well-formed deltas.
    pub fn accept(&mut self, deltas: &[Delta], now: Timestamp) -> News {
        let mut news = News::default();
        for delta in deltas {
            match delta.check(now) {
                Err(flaw) => news.flaws.push((delta.digest.host_id, flaw)),
                Ok(()) if delta.digest.host_id == self.own => self.outbid(&delta.digest),
                Ok(()) => self.accept_one(delta, &mut news),
            }
        }
        news
    }

    fn accept_one(&mut self, delta: &Delta, news: &mut News) {
        let host_id = delta.digest.host_id;
        let is_new = !self.members.contains_key(&host_id);
        if is_new && self.members.len() >= MAX_MEMBERS {
            news.flaws.push((host_id, Flaw::TooMany));
            return;
        }
        let before = self.members.get(&host_id).map(Heard::digest);
        if let Some(member) = &delta.description {
            self.describe(Arc::clone(member));
        }
        self.take_heartbeat(&delta.digest, news);
        let order = self.next_news();
        let Some(heard) = self.members.get_mut(&host_id) else { return };
        // A gap means that a message was late or lost in between: what is missing comes again.
        if heard.digest().incarnation() == delta.digest.incarnation() && delta.after <= heard.told {
            heard.take_facts(delta);
        }
        if before.is_none_or(|before| heard.digest().exceeds(&before)) {
            heard.news = order;
            news.changed.insert(host_id);
        }
    }

    fn take_heartbeat(&mut self, theirs: &Digest, news: &mut News) {
        if theirs.host_id == self.own {
            return self.outbid(theirs);
        }
        let Some(heard) = self.members.get_mut(&theirs.host_id) else { return };
        if heard.digest().incarnation() == theirs.incarnation() && heard.heartbeat < theirs.heartbeat {
            heard.heartbeat = theirs.heartbeat;
            news.beating.insert(theirs.host_id);
        }
    }

    /// Only this node counts up what it says. If others have heard more of it than it has said (its data directory is
    /// an old copy, or they are wrong), it goes on from there, and says everything again. Of its description the view
    /// takes care.
    fn outbid(&mut self, claim: &Digest) {
        let own = self.own_mut();
        if own.digest().incarnation() != claim.incarnation() {
            return;
        }
        own.heartbeat = own.heartbeat.max(claim.heartbeat);
        if claim.told > own.told {
            helenus_storage::sometimes!("a claim about this node's facts was outbid");
            own.told = claim.told;
            for fact in own.facts.values_mut() {
                own.told += 1;
                fact.version = own.told;
            }
        }
    }

    /// What is known beyond digests, latest news first, as much as fits into a message.
    fn deltas(&self, mut lacking: Vec<(u64, Digest)>) -> Vec<Delta> {
        lacking.sort_unstable_by_key(|(news, digest)| (std::cmp::Reverse(*news), digest.host_id));
        let mut room = MAX_DELTA_BYTES;
        let mut deltas = Vec::new();
        for (_, theirs) in lacking {
            let Some(heard) = self.members.get(&theirs.host_id) else { continue };
            let delta = heard.beyond(&theirs);
            let size = delta.size_bytes();
            if size > room && !deltas.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            deltas.push(delta);
        }
        deltas
    }

    fn own(&self) -> &Heard {
        self.members.get(&self.own).expect("described by `new`, and nobody is ever taken out")
    }

    fn own_mut(&mut self) -> &mut Heard {
        self.members.get_mut(&self.own).expect("described by `new`, and nobody is ever taken out")
    }

    fn next_news(&mut self) -> u64 {
        self.news += 1;
        self.news
    }
}

impl Heard {
    fn digest(&self) -> Digest {
        Digest {
            host_id: self.description.host_id,
            removed: self.description.state == MemberState::Removed,
            generation: self.description.generation,
            heartbeat: self.heartbeat,
            described: self.description.version,
            told: self.told,
        }
    }

    fn beyond(&self, theirs: &Digest) -> Delta {
        let digest = self.digest();
        let is_same = digest.incarnation() == theirs.incarnation();
        let after = if is_same { theirs.told.min(self.told) } else { 0 };
        let is_described = is_same && theirs.described >= digest.described;
        let mut facts: Vec<(Tag, Fact)> = self
            .facts
            .iter()
            .filter(|(_, fact)| fact.version > after)
            .map(|(tag, fact)| (*tag, fact.clone()))
            .collect();
        facts.sort_unstable_by_key(|(_, fact)| fact.version);
        let description = (!is_described).then(|| Arc::clone(&self.description));
        Delta { digest, description, after, facts }
    }

    fn take_facts(&mut self, delta: &Delta) {
        for (tag, fact) in &delta.facts {
            let is_known = self.facts.get(tag).is_some_and(|known| known.version >= fact.version);
            if !is_known && (self.facts.contains_key(tag) || self.facts.len() < Delta::MAX_FACTS) {
                self.facts.insert(*tag, fact.clone());
            }
        }
        self.told = self.told.max(delta.digest.told);
    }
}

fn incarnation(member: &Member) -> Incarnation {
    Incarnation { removed: member.state == MemberState::Removed, generation: member.generation }
}
