//! Promise: when a node owns ranges, it has been sent every write ever made to them; the former owners are written to
//! until nobody reads from them; and a cluster that is formed without writes ends up with all its nodes normal.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod setting;

use std::collections::{BTreeMap, BTreeSet};

use helenus_cluster::{
    membership::{Changes, Exchange, Join, JoinVerdict, Member, MemberState, Note, Remembered, View},
    node_id::{ClusterId, Generation, HostId},
};
use proptest::prelude::*;
use setting::{NOW, host, joining, normal};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(77));

fn alone(number: u128) -> View {
    View::new(joining(number, &[number as i64 * 10]), Remembered::default(), None)
}

fn former(number: u128) -> View {
    let mut view = alone(number);
    view.form(CLUSTER, 3);
    view
}

/// Tells `to` what `from` knows.
fn tell(from: &View, has_user_records: bool, to: &mut View, join: &mut Join) {
    let exchange = from.exchange(|| has_user_records);
    let sender = from.own().host_id;
    let _ = to.merge(sender, &exchange, NOW);
    join.on_exchange(to, sender, &exchange);
}

fn why(join: &Join, view: &View) -> String {
    match join.verdict(view) {
        JoinVerdict::Wait { why } => why,
        JoinVerdict::MoveOn(state) => format!("it becomes {state:?}"),
    }
}

#[test]
fn a_node_joins_an_empty_cluster_as_soon_as_its_members_have_listed_it() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    assert_eq!(why(&join, &second), "it belongs to no cluster yet");

    tell(&first, false, &mut second, &mut join);
    assert_eq!(second.cluster_id(), None, "not listed yet");

    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    assert_eq!(second.cluster_id(), Some(CLUSTER));
    assert_eq!(join.verdict(&second), JoinVerdict::MoveOn(MemberState::Settling));

    let version = second.own().version;
    second.move_on(MemberState::Settling);
    assert_eq!((second.own().state, second.own().version), (MemberState::Settling, version + 1));
}

#[test]
fn a_node_settles_until_every_member_knows_that_it_owns_ranges_even_when_they_have_records_by_then() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    second.move_on(MemberState::Settling);
    assert!(why(&join, &second).contains("may not know yet that this node owns its ranges"));

    tell(&first, true, &mut second, &mut join);
    assert!(why(&join, &second).contains("may not know yet"), "it lists the node as joining");

    tell(&second, false, &mut first, &mut of_first);
    tell(&first, true, &mut second, &mut join);
    assert_eq!(join.verdict(&second), JoinVerdict::MoveOn(MemberState::Normal));
}

#[test]
fn user_records_anywhere_keep_a_node_joining_and_the_status_says_where() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, true, &mut second, &mut join);
    assert_eq!(
        why(&join, &second),
        format!(
            "user records exist already, on host {} (10.0.0.1:7171); streaming is not available yet",
            host(1)
        )
    );
}

#[test]
fn an_answer_that_was_clean_once_stays_clean() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    tell(&first, true, &mut second, &mut join);
    assert_eq!(join.verdict(&second), JoinVerdict::MoveOn(MemberState::Settling));
}

#[test]
fn a_removal_makes_clean_answers_of_before_it_worthless() {
    let (mut first, mut third) = (former(1), alone(3));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&alone(2), false, &mut first, &mut of_first);
    tell(&third, false, &mut first, &mut of_first);
    tell(&first, false, &mut third, &mut join);
    assert!(why(&join, &third).contains("waiting for an answer of"), "the second is not heard of");

    // The second has coordinated a write that the first holds since, and is removed.
    let tombstone = first.remove(host(2)).cloned().expect("it is a member");
    let _ = third.merge_members([&tombstone], NOW);
    assert_eq!(join.to_be_asked(&third).collect::<Vec<_>>(), [host(1)]);
    assert_eq!(why(&join, &third), format!("waiting for an answer of host {} (10.0.0.1:7171)", host(1)));

    tell(&first, true, &mut third, &mut join);
    assert!(why(&join, &third).contains("user records exist already"));
}

#[test]
fn an_answer_counts_only_if_its_sender_has_heard_of_every_removal() {
    let (mut first, mut third) = (former(1), alone(3));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&alone(2), false, &mut first, &mut of_first);
    tell(&third, false, &mut first, &mut of_first);
    let unaware = first.clone();
    tell(&first, false, &mut third, &mut join);
    let tombstone = first.remove(host(2)).cloned().expect("it is a member");
    let _ = third.merge_members([&tombstone], NOW);

    tell(&unaware, false, &mut third, &mut join);
    assert!(why(&join, &third).contains("has not heard of all members that were removed"));
    tell(&first, false, &mut third, &mut join);
    assert_eq!(join.verdict(&third), JoinVerdict::MoveOn(MemberState::Settling));
}

#[test]
fn members_heard_of_through_others_must_answer_too() {
    let (mut first, mut third) = (former(1), alone(3));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&alone(2), false, &mut first, &mut of_first);
    tell(&third, false, &mut first, &mut of_first);
    tell(&first, false, &mut third, &mut join);
    assert_eq!(why(&join, &third), format!("waiting for an answer of host {} (10.0.0.2:7171)", host(2)));
}

#[test]
fn a_member_that_does_not_list_the_node_has_not_answered() {
    let (mut first, mut second, mut third) = (former(1), alone(2), alone(3));
    let (mut of_first, mut of_second, mut join) = (Join::default(), Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut of_second);
    tell(&third, false, &mut first, &mut of_first);
    tell(&first, false, &mut third, &mut join);
    tell(&second, false, &mut third, &mut join);
    assert_eq!(why(&join, &third), format!("host {} (10.0.0.2:7171) does not list this node", host(2)));

    tell(&third, false, &mut second, &mut of_second);
    tell(&second, false, &mut third, &mut join);
    assert_eq!(join.verdict(&third), JoinVerdict::MoveOn(MemberState::Settling));
}

#[test]
fn a_node_listed_with_other_tokens_is_not_listed() {
    let second = alone(2);
    let lists = |tokens: &[i64]| Exchange {
        cluster_id: Some(CLUSTER),
        members: vec![normal(1, &[10]), joining(2, tokens)],
        tables: vec![],
        has_user_records: false,
    };
    assert!(!second.is_listed_by(&lists(&[21])));
    assert!(second.is_listed_by(&lists(&[20])));
}

#[test]
fn a_node_that_cannot_believe_all_members_does_not_belong() {
    let mut second = alone(2);
    let mut exchange = Exchange {
        cluster_id: Some(CLUSTER),
        members: vec![normal(1, &[10]), joining(2, &[20]), joining(3, &[10])],
        tables: vec![],
        has_user_records: false,
    };
    let changes = second.merge(host(1), &exchange, NOW);
    assert_eq!((second.cluster_id(), second.others().count()), (None, 0));
    assert_eq!((changes.is_news(), changes.notes.len()), (false, 1));

    exchange.members.pop();
    assert!(second.merge(host(1), &exchange, NOW).is_news());
    assert_eq!(second.cluster_id(), Some(CLUSTER));
}

#[test]
fn an_exchange_with_members_that_are_not_believed_is_not_clean() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut Join::default());
    let mut exchange = first.exchange(|| false);
    exchange.members.push(joining(3, &[10]));
    let _ = second.merge(host(1), &exchange, NOW);
    join.on_exchange(&second, host(1), &exchange);
    assert!(why(&join, &second).ends_with("lists members that this node does not believe"));
}

#[test]
fn a_node_that_knows_no_other_member_does_not_take_silence_for_consent() {
    let remembered = Remembered { cluster_id: Some(CLUSTER), ..Remembered::default() };
    let view = View::new(joining(2, &[20]), remembered, None);
    assert_eq!(why(&Join::default(), &view), "no other member is known yet");
}

#[test]
fn many_missing_answers_make_a_short_status() {
    let members = (1..9).map(|number| normal(number, &[number as i64])).collect();
    let remembered = Remembered { cluster_id: Some(CLUSTER), members, tables: vec![] };
    let view = View::new(joining(20, &[200]), remembered, None);
    assert!(why(&Join::default(), &view).ends_with("and 5 more"));
}

#[test]
fn an_evicted_node_outbids_its_eviction_and_every_answer_of_before_is_worth_nothing() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    assert_eq!(join.verdict(&second), JoinVerdict::MoveOn(MemberState::Settling));

    let evicted = first.evict(host(2)).cloned().expect("it joins");
    assert_eq!((first.members().count(), first.gone().count()), (1, 1));
    tell(&second, false, &mut first, &mut of_first);
    assert_eq!(first.member(host(2)), None, "what it has said so far does not bring it back");

    let mut unaware = second.clone();
    assert!(!second.is_listed_by(&first.exchange(|| false)));
    tell(&first, false, &mut second, &mut join);
    assert_eq!(second.own().state, MemberState::Joining);
    let own = second.own();
    assert!((own.generation, own.version) > (evicted.generation, evicted.version));
    assert_eq!(join.to_be_asked(&second).collect::<Vec<_>>(), [host(1)]);

    // Whoever lists it as it was before does not list it as it joins now.
    let _ = unaware.merge_members([&normal(3, &[30])], NOW);
    tell(&unaware, false, &mut second, &mut join);
    assert!(!matches!(join.verdict(&second), JoinVerdict::MoveOn(_)));

    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    assert_eq!(first.member(host(2)).map(|member| member.state), Some(MemberState::Joining));
}

#[test]
fn a_node_that_belongs_to_no_cluster_hears_of_its_eviction_too() {
    let (mut first, mut second) = (former(1), alone(2));
    let (mut of_first, mut join) = (Join::default(), Join::default());
    tell(&second, false, &mut first, &mut of_first);
    first.evict(host(2)).expect("it joins");

    tell(&first, false, &mut second, &mut join);
    assert_eq!(second.cluster_id(), None);
    tell(&second, false, &mut first, &mut of_first);
    tell(&first, false, &mut second, &mut join);
    assert_eq!(second.cluster_id(), Some(CLUSTER));
}

#[test]
fn who_owns_ranges_is_not_evicted_whatever_is_said_first() {
    let settling = Member { state: MemberState::Settling, ..joining(2, &[20]) };
    let mut evictor = former(1);
    let _ = evictor.merge_members([&joining(2, &[20])], NOW);
    let evicted = evictor.evict(host(2)).cloned().expect("it joins");
    assert_eq!(evictor.evict(host(2)), None);
    for order in [[&settling, &evicted], [&evicted, &settling]] {
        let mut view = former(1);
        let _ = view.merge_members(order, NOW);
        assert_eq!(view.member(host(2)).map(|member| member.state), Some(MemberState::Settling));
    }
}

/// One node of the model: its view as its own requests see it, and its flag.
struct Node {
    view: View,
    join: Join,
    has_user_records: bool,
    /// Members of which it first heard when it had user records.
    latecomers: BTreeSet<HostId>,
}

impl Node {
    fn coordinates(&self) -> bool {
        self.view.cluster_id().is_some() && self.join.is_listed(&self.view)
    }
}

/// A write: to whom it was sent, and who has applied it.
struct Write {
    by: HostId,
    /// In which of its coordinator's generations.
    generation: Generation,
    replicas: BTreeSet<HostId>,
    applied: BTreeSet<HostId>,
}

/// A cluster of a few nodes whose every step is a separate event. The replication factor is as large as the cluster,
/// so the replicas of a write are simply the members of its coordinator's view.
struct Model {
    nodes: BTreeMap<HostId, Node>,
    in_flight: Vec<Event>,
    writes: Vec<Write>,
}

enum Event {
    Request {
        from: HostId,
        to: HostId,
        exchange: Exchange,
    },
    Answer {
        from: HostId,
        to: HostId,
        exchange: Exchange,
    },
    /// A coordinator has set its flag, and has not read its view yet.
    Coordinate {
        by: HostId,
        generation: Generation,
    },
    Apply {
        at: HostId,
        write: usize,
    },
    /// What one member is known as, told alone.
    Rumor {
        to: HostId,
        fact: Member,
    },
}

impl Model {
    fn of(nodes: u128) -> Self {
        let views = (1..=nodes).map(|number| if number == 1 { former(1) } else { alone(number) });
        let node = |view: View| Node {
            view,
            join: Join::default(),
            has_user_records: false,
            latecomers: BTreeSet::new(),
        };
        let nodes = views.map(|view| (view.own().host_id, node(view))).collect();
        Self { nodes, in_flight: Vec::new(), writes: Vec::new() }
    }

    fn node(&mut self, host_id: HostId) -> &mut Node {
        self.nodes.get_mut(&host_id).unwrap()
    }

    fn begin_exchange(&mut self, from: HostId, to: HostId) {
        let node = self.node(from);
        let exchange = node.view.exchange(|| node.has_user_records);
        self.in_flight.push(Event::Request { from, to, exchange });
    }

    fn begin_write(&mut self, by: HostId) {
        let node = self.node(by);
        if node.coordinates() {
            node.has_user_records = true;
            let generation = node.view.own().generation;
            self.in_flight.push(Event::Coordinate { by, generation });
        }
    }

    fn deliver(&mut self, index: usize) {
        match self.in_flight.swap_remove(index) {
            Event::Request { from, to, exchange } => {
                self.learn_exchange(to, from, &exchange);
                let node = self.node(to);
                let answer = node.view.exchange(|| node.has_user_records);
                self.in_flight.push(Event::Answer { from: to, to: from, exchange: answer });
            }
            Event::Answer { from, to, exchange } => self.learn_exchange(to, from, &exchange),
            Event::Coordinate { by, generation } => {
                let replicas: BTreeSet<_> =
                    self.node(by).view.members().map(|member| member.host_id).collect();
                let write = self.writes.len();
                self.in_flight.extend(replicas.iter().map(|&at| Event::Apply { at, write }));
                self.writes.push(Write { by, generation, replicas, applied: BTreeSet::new() });
            }
            Event::Apply { at, write } => {
                let Write { by, generation, .. } = self.writes[write];
                // Nobody is told that it was written, if its coordinator has died or was evicted.
                let is_awaited = self.node(by).view.own().generation == generation;
                let node = self.node(at);
                node.has_user_records = true;
                if is_awaited && node.view.known(by).is_none_or(|sender| !sender.state.is_gone()) {
                    self.writes[write].applied.insert(at);
                }
            }
            Event::Rumor { to, fact } => {
                if self.node(to).view.cluster_id().is_some() {
                    self.learn(to, |view| view.merge_members([&fact], NOW));
                    self.move_on(to);
                }
            }
        }
    }

    /// Whoever has heard of a member when it had records gives it up, be it dead or not.
    fn evict(&mut self, by: HostId, about: HostId) {
        let node = self.node(by);
        if node.view.own().state.owns_ranges() && node.latecomers.contains(&about) {
            let _ = node.view.evict(about);
        }
    }

    fn begin_rumor(&mut self, from: HostId, to: HostId, about: HostId) {
        if let Some(fact) = self.node(from).view.known(about).cloned() {
            self.in_flight.push(Event::Rumor { to, fact });
        }
    }

    fn learn_exchange(&mut self, at: HostId, from: HostId, exchange: &Exchange) {
        self.learn(at, |view| view.merge(from, exchange, NOW));
        let Node { view, join, .. } = self.node(at);
        join.on_exchange(view, from, exchange);
        self.move_on(at);
    }

    fn learn(&mut self, at: HostId, merge: impl FnOnce(&mut View) -> Changes) {
        let Node { view, has_user_records, latecomers, .. } = self.node(at);
        let before = view.clone();
        let changes = merge(view);
        let is_expected = |note: &Note| matches!(note, Note::Evicted { .. } | Note::OwnDescriptionDisputed);
        assert!(changes.notes.iter().all(is_expected), "{:?}", changes.notes);
        if before.cluster_id().is_some() && *has_user_records {
            let is_new = |host_id: &&HostId| {
                before.known(**host_id).is_none()
                    && view.member(**host_id).is_some_and(|member| member.state == MemberState::Joining)
            };
            latecomers.extend(changes.members.iter().filter(is_new));
        }
    }

    fn move_on(&mut self, at: HostId) {
        let Node { view, join, .. } = self.node(at);
        if let JoinVerdict::MoveOn(state) = join.verdict(view) {
            view.move_on(state);
        }
    }

    /// The node stops and comes back with what was durable.
    fn restart(&mut self, host_id: HostId) {
        let node = self.node(host_id);
        let own = node.view.own();
        let generation = Generation(own.generation.0 + 10);
        let own = Member { generation, version: 0, ..own.clone() };
        let remembered = Remembered {
            cluster_id: node.view.cluster_id(),
            members: node.view.members().chain(node.view.gone()).cloned().collect(),
            tables: node.view.tables().iter().cloned().collect(),
        };
        node.view = View::new(own, remembered, None);
        node.join = Join::default();
    }

    fn owners(&self) -> BTreeSet<HostId> {
        let own = self.nodes.values().map(|node| node.view.own());
        own.filter(|own| own.state.owns_ranges()).map(|own| own.host_id).collect()
    }

    fn is_evicted(&self, host_id: HostId) -> bool {
        let mut known = self.nodes.values().filter_map(|node| node.view.known(host_id));
        known.any(|member| member.state.is_gone())
    }

    fn is_outcast(&self, host_id: HostId) -> bool {
        let others = || {
            let belong = self.nodes.values().filter(|node| node.view.cluster_id().is_some());
            belong.filter(|node| node.view.own().host_id != host_id)
        };
        let is_gone = |node: &Node| node.view.known(host_id).is_some_and(|member| member.state.is_gone());
        others().next().is_some() && others().all(is_gone)
    }

    fn are_all_normal(&self) -> bool {
        self.nodes.values().all(|node| node.view.own().state == MemberState::Normal)
    }

    /// A member whom one node reads from while writes of another pass it over, or the other way round.
    fn misunderstanding(&self) -> Option<String> {
        let belonging = || self.nodes.values().filter(|node| node.coordinates()).map(|node| &node.view);
        for (reader, writer) in belonging().flat_map(|reader| belonging().map(move |writer| (reader, writer)))
        {
            // To whom nobody listens, until it belongs again, neither reads nor writes.
            if [reader, writer].iter().any(|node| self.is_outcast(node.own().host_id)) {
                continue;
            }
            for member in self.nodes.keys() {
                let reads = reader.member(*member).is_some_and(|member| member.state.owns_ranges());
                let writes = writer.member(*member).map(|member| member.state);
                let is_sound = if reads { writes.is_some() } else { writes != Some(MemberState::Normal) };
                if !is_sound {
                    let (reader, writer) = (reader.own().host_id, writer.own().host_id);
                    return Some(format!(
                        "{reader} reads from {member}: {reads}; to {writer} it is {writes:?}"
                    ));
                }
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_order_of_events_makes_an_owner_miss_a_write_or_a_reader_ask_who_was_passed_over(
        nodes in 2u128..6,
        steps in prop::collection::vec((0u8..16, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..120),
    ) {
        let mut model = Model::of(nodes);
        for (kind, one, other) in steps {
            let by = host(1 + one.index(nodes as usize) as u128);
            match kind {
                // Exchanges go to members, and to the seed before any is known; a seed is met by its address.
                0..=3 => {
                    let mut peers: BTreeSet<_> = model.node(by).view.others().map(|peer| peer.host_id).collect();
                    peers.extend([host(1), host(2)].into_iter().filter(|seed| *seed != by));
                    let peers: Vec<_> = peers.into_iter().collect();
                    model.begin_exchange(by, peers[other.index(peers.len())]);
                }
                4 => model.begin_write(by),
                5 => model.restart(by),
                6 => model.evict(by, host(1 + other.index(nodes as usize) as u128)),
                7 | 8 => {
                    let about = 1 + other.index(3 * nodes as usize) as u128 % nodes;
                    let to = host(1 + other.index(nodes as usize) as u128);
                    model.begin_rumor(by, to, host(about));
                }
                _ if !model.in_flight.is_empty() => {
                    let index = other.index(model.in_flight.len());
                    model.deliver(index);
                }
                _ => {}
            }
            let owners = model.owners();
            for Write { by, replicas, applied, .. } in &model.writes {
                let missed: Vec<_> = owners.difference(replicas).collect();
                let is_kept = applied.iter().any(|at| at != by || !model.is_evicted(*by));
                prop_assert!(
                    missed.is_empty() || !is_kept,
                    "{missed:?} own ranges but missed a write to {replicas:?}"
                );
            }
            prop_assert_eq!(model.misunderstanding(), None);
        }
    }

    #[test]
    fn a_cluster_formed_without_writes_ends_up_normal(
        nodes in 1u128..6,
        order in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
    ) {
        let mut model = Model::of(nodes);
        let exchange = |model: &mut Model, from, to| {
            model.begin_exchange(from, to);
            model.deliver(0);
            model.deliver(0);
        };
        for (from, to) in order {
            let (from, to) = (from.index(nodes as usize), to.index(nodes as usize));
            if from != to {
                exchange(&mut model, host(1 + from as u128), host(1 + to as u128));
            }
        }
        for _ in 0..4 {
            for (from, to) in (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to))) {
                if from != to {
                    exchange(&mut model, host(from), host(to));
                }
            }
        }
        prop_assert!(model.are_all_normal());
    }
}
