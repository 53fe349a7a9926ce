//! Promise: nodes that have heard the same facts know the same cluster, whatever the order and however often; no
//! fact shrinks the ring; and damage from the network is ignored and reported, alone.

mod setting;

use std::time::{Duration, Instant};

use helenus_cluster::{
    membership::{
        CallFailure, Changes, Exchange, Flaw, Liveness, Member, MemberState, Note, Remembered, SignOfDeath,
        SignOfLife, View, formation::default_replication, member,
    },
    node_id::{ClusterId, Generation},
    table::{DEFAULT_TABLE, Definition, FactFlaw, Table},
    time::Timestamp,
};
use proptest::prelude::*;
use setting::{NOW, host, joining, normal};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(77));
const NOW_SECONDS: u64 = NOW.0 / 1_000_000;
const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

/// A node of the cluster that knows itself.
fn member_of_cluster() -> View {
    View::new(normal(1, &[10]), Remembered { cluster_id: Some(CLUSTER), ..Remembered::default() }, None)
}

fn exchange(members: Vec<Member>) -> Exchange {
    Exchange { cluster_id: Some(CLUSTER), members, tables: vec![], has_user_records: false }
}

fn tell(view: &mut View, members: Vec<Member>) -> Changes {
    view.merge(host(2), &exchange(members), NOW)
}

#[test]
fn a_newer_description_wins_and_an_older_one_changes_nothing() {
    let described = |generation, version, address: &str| Member {
        generation: Generation(generation),
        version,
        address: address.to_owned(),
        ..normal(2, &[20])
    };
    let mut view = member_of_cluster();
    assert_eq!(tell(&mut view, vec![described(5, 1, "a:1")]).members, [host(2)]);
    for (older, stays) in [(described(4, 9, "b:1"), "a:1"), (described(5, 0, "b:1"), "a:1")] {
        assert!(!tell(&mut view, vec![older]).is_news());
        assert_eq!(view.member(host(2)).unwrap().address, stays);
    }
    assert!(!tell(&mut view, vec![described(5, 1, "a:1")]).is_news(), "a repeated one is no news");
    for (newer, becomes) in [(described(5, 2, "c:1"), "c:1"), (described(6, 0, "d:1"), "d:1")] {
        assert_eq!(tell(&mut view, vec![newer]).members, [host(2)]);
        assert_eq!(view.member(host(2)).unwrap().address, becomes);
    }
}

#[test]
fn a_member_that_was_normal_stays_in_the_ring_whatever_it_says_later() {
    let mut view = member_of_cluster();
    tell(&mut view, vec![normal(2, &[20])]);
    let stepped_back = Member { version: 9, address: "new:1".to_owned(), ..joining(2, &[20]) };

    let changes = tell(&mut view, vec![stepped_back.clone()]);
    assert_eq!(changes.notes, [Note::SteppedBack { about: host(2) }]);
    let known = view.member(host(2)).unwrap();
    assert_eq!((known.state, known.address.as_str()), (MemberState::Normal, "new:1"));

    assert_eq!(tell(&mut view, vec![stepped_back]), Changes::default(), "it is reported once");
    assert_eq!(tell(&mut view, vec![]), Changes::default(), "and silence about a member removes it not");
    assert!(view.member(host(2)).is_some());
}

/// What a node that started just now can have counted at most: ten thousand a second, in the year by which clocks may
/// differ.
const MOST: u64 = YEAR_SECONDS * 10_000;

#[test]
fn a_node_outbids_what_others_claim_about_it() {
    let own = normal(1, &[10]);
    let claims = [
        (Member { version: 7, ..own.clone() }, (own.generation, 8)),
        (Member { address: "evil:1".to_owned(), ..own.clone() }, (own.generation, 2)),
        (
            Member { generation: Generation(own.generation.0 + 1), ..own.clone() },
            (Generation(own.generation.0 + 1), 2),
        ),
        (Member { version: MOST, ..own.clone() }, (own.generation, MOST + 1)),
    ];
    for (claim, outbid) in claims {
        let mut view = member_of_cluster();
        let changes = tell(&mut view, vec![claim.clone()]);
        assert_eq!((changes.members, changes.notes), (vec![host(1)], vec![Note::OwnDescriptionDisputed]));
        let known = view.own().clone();
        assert_eq!((known.generation, known.version), outbid);
        assert_eq!(known, Member { generation: outbid.0, version: outbid.1, ..own.clone() });
        assert_eq!(tell(&mut view, vec![claim]), Changes::default(), "once is enough");
    }
    let mut view = member_of_cluster();
    assert_eq!(tell(&mut view, vec![own.clone()]), Changes::default());
    assert_eq!(tell(&mut view, vec![Member { version: 0, ..joining(1, &[1]) }]), Changes::default());
    assert_eq!(tell(&mut view, vec![joining(1, &[10])]), Changes::default(), "a state alone is not outbid");
}

#[test]
fn of_one_table_defined_on_two_sides_the_one_changed_more_often_holds_and_who_knew_the_other_says_so() {
    let table = |factor: u32, version| Table {
        name: "users".to_owned(),
        incarnation: 1,
        definition: Definition::replicated(factor.into()),
        version,
        is_dropped: false,
    };
    let (loser, winner) = (table(5, 0), table(3, 1));
    let expiring = Definition { default_ttl_seconds: 60, ..winner.definition.clone() };
    let altered = Table { definition: expiring, version: 2, ..winner.clone() };
    let mut view = member_of_cluster();
    assert_eq!(view.merge_tables(std::slice::from_ref(&loser)).notes, []);

    let replications = (loser.definition.replication.clone(), winner.definition.replication.clone());
    let note = Note::TableRedefined { name: "users".to_owned(), replication: Some(Box::new(replications)) };
    assert_eq!(view.merge_tables(std::slice::from_ref(&winner)).notes, [note]);
    assert_eq!(view.merge_tables(&[loser, winner]).notes, [], "once, and not where the winner is known");
    let note = Note::TableRedefined { name: "users".to_owned(), replication: None };
    assert_eq!(view.merge_tables(&[altered]).notes, [note]);
}

#[test]
fn a_generation_of_the_far_future_is_refused_for_oneself_too() {
    let mut view = member_of_cluster();
    let claim = Member { generation: Generation(u64::MAX), version: u64::MAX, ..normal(1, &[10]) };
    let changes = tell(&mut view, vec![claim]);
    assert!(!changes.is_news());
    let flaw = Flaw::FarFuture { seconds: u64::MAX / 1_000_000 };
    assert_eq!(changes.notes, [Note::MemberIgnored { about: host(1), flaw }]);
    assert_eq!(view, member_of_cluster());
}

#[test]
fn each_malformed_fact_is_ignored_and_reported_and_its_neighbours_are_taken() {
    let good = normal(2, &[20]);
    let long = |length| "x".repeat(length);
    let latest = NOW_SECONDS + YEAR_SECONDS;
    let table: Vec<(Member, Option<Flaw>)> = vec![
        (Member { address: String::new(), ..good.clone() }, Some(Flaw::Address)),
        (Member { address: long(300), ..good.clone() }, None),
        (Member { address: long(301), ..good.clone() }, Some(Flaw::Address)),
        (Member { address: "a\nb:1".to_owned(), ..good.clone() }, Some(Flaw::Address)),
        (Member { datacenter: String::new(), ..good.clone() }, Some(Flaw::Name)),
        (Member { datacenter: long(128), rack: long(128), ..good.clone() }, None),
        (Member { datacenter: long(129), ..good.clone() }, Some(Flaw::Name)),
        (Member { rack: "\u{1b}[2J".to_owned(), ..good.clone() }, Some(Flaw::Name)),
        (Member { tokens: vec![], ..good.clone() }, Some(Flaw::Tokens)),
        (Member { tokens: vec![2, 1], ..good.clone() }, Some(Flaw::Tokens)),
        (Member { tokens: vec![1, 1], ..good.clone() }, Some(Flaw::Tokens)),
        (Member { tokens: (100..4196).collect(), ..good.clone() }, None),
        (Member { tokens: (100..4197).collect(), ..good.clone() }, Some(Flaw::Tokens)),
        (
            Member { tokens: vec![9, 10], ..good.clone() },
            Some(Flaw::TokenTaken { token: 10, owner: host(1) }),
        ),
        (Member { generation: Generation(latest * 1_000_000), ..good.clone() }, None),
        (
            Member { generation: Generation((latest + 1) * 1_000_000), ..good.clone() },
            Some(Flaw::FarFuture { seconds: latest + 1 }),
        ),
        (Member { version: MOST, ..good.clone() }, None),
        (Member { version: MOST + 1, ..good }, Some(Flaw::Counter)),
    ];
    for (fact, flaw) in table {
        let mut view = member_of_cluster();
        let changes = tell(&mut view, vec![fact.clone(), normal(3, &[30])]);
        let note = flaw.clone().map(|flaw| Note::MemberIgnored { about: host(2), flaw });
        assert_eq!(changes.notes, note.into_iter().collect::<Vec<_>>());
        assert_eq!(view.member(host(2)).is_some(), flaw.is_none(), "{flaw:?}");
        assert!(view.member(host(3)).is_some());
    }
}

#[test]
fn the_tokens_of_a_member_never_change() {
    let mut view = member_of_cluster();
    tell(&mut view, vec![joining(2, &[20])]);
    let moved = Member { version: 2, ..joining(2, &[21]) };
    let flaw = Flaw::TokensChanged;
    assert_eq!(tell(&mut view, vec![moved]).notes, [Note::MemberIgnored { about: host(2), flaw }]);
    assert_eq!(view.member(host(2)).unwrap().tokens, [20]);
}

#[test]
fn members_and_tokens_are_bounded_and_so_are_the_reports() {
    let mut view = member_of_cluster();
    let crowd = |range: std::ops::Range<u128>| range.map(|n| normal(n, &[n as i64 * 100])).collect();
    let changes = tell(&mut view, crowd(2..member::MAX_MEMBERS as u128 + 51));
    assert_eq!(view.members().count(), member::MAX_MEMBERS);
    assert_eq!((changes.notes.len(), changes.suppressed), (Changes::MAX_NOTES, 50 - Changes::MAX_NOTES));
    assert!(matches!(changes.notes[0], Note::MemberIgnored { flaw: Flaw::TooMany, .. }));

    let mut view = member_of_cluster();
    let per_member = member::MAX_TOKENS_PER_MEMBER as i64;
    for number in 2..300 {
        let first = number * per_member;
        tell(&mut view, vec![normal(number as u128, &(first..first + per_member).collect::<Vec<_>>())]);
    }
    assert_eq!(view.members().count(), 1 + member::MAX_TOKENS / member::MAX_TOKENS_PER_MEMBER - 1);
}

#[test]
fn facts_do_not_cross_the_boundary_of_a_cluster() {
    let other = ClusterId(Uuid::from_u128(78));
    let mut view = member_of_cluster();
    let foreign = Exchange { cluster_id: Some(other), ..exchange(vec![normal(2, &[20])]) };
    let changes = view.merge(host(2), &foreign, NOW);
    assert_eq!(changes.notes, [Note::OtherCluster { ours: CLUSTER, theirs: other }]);
    assert_eq!(view, member_of_cluster());

    let outsider = Exchange {
        cluster_id: None,
        tables: vec![Table::default_with_factor(5)],
        ..exchange(vec![joining(2, &[20]), joining(3, &[30])])
    };
    view.merge(host(2), &outsider, NOW);
    assert!(view.member(host(2)).is_some(), "an outsider announces itself");
    assert!(view.member(host(3)).is_none(), "and no one else");
    assert!(view.tables().get(DEFAULT_TABLE).is_none());

    let impostor = Exchange { cluster_id: None, ..exchange(vec![normal(4, &[40])]) };
    let changes = view.merge(host(4), &impostor, NOW);
    assert_eq!(changes.notes, [Note::MemberIgnored { about: host(4), flaw: Flaw::Outsider }]);

    let mut waiting = View::new(joining(5, &[50]), Remembered::default(), None);
    for cluster_id in [None, Some(CLUSTER)] {
        let unlisted = Exchange { cluster_id, ..exchange(vec![normal(2, &[20])]) };
        assert_eq!(waiting.merge(host(2), &unlisted, NOW), Changes::default());
    }
}

#[test]
fn a_restarted_node_knows_whom_it_knew_and_describes_itself_anew() {
    let remembered = Remembered {
        cluster_id: Some(CLUSTER),
        members: vec![normal(1, &[10]), normal(2, &[20])],
        tables: vec![Table::default_with_factor(3)],
    };
    let restarted = Member { version: 5, address: "moved:1".to_owned(), ..normal(1, &[10]) };
    let view = View::new(restarted.clone(), remembered, Some(2));

    assert_eq!(view.own(), &restarted);
    assert_eq!(view.others().map(|member| member.host_id).collect::<Vec<_>>(), [host(2)]);
    assert_eq!(view.cluster_id(), Some(CLUSTER));
    assert_eq!(view.factor_note(), Some(Note::FactorDiffers { configured: 2, actual: 3 }));
    assert_eq!(view.exchange(|| true).members[0], restarted, "a sender lists itself first");
}

#[test]
fn the_former_decides_the_factor_and_a_different_setting_elsewhere_is_reported() {
    let factors = [(None, true), (None, false), (Some(5), true), (Some(5), false)];
    let of = |(set, seeds): (Option<u32>, bool)| default_replication(set.map(Into::into), seeds).factor();
    assert_eq!(factors.map(of), [3, 1, 5, 5]);

    let mut former = View::new(joining(2, &[20]), Remembered::default(), None);
    former.form(CLUSTER, 3);
    assert_eq!((former.cluster_id(), former.own().state), (Some(CLUSTER), MemberState::Normal));

    for (configured, notes) in
        [(None, vec![]), (Some(3), vec![]), (Some(2), vec![Note::FactorDiffers { configured: 2, actual: 3 }])]
    {
        let remembered = Remembered { cluster_id: Some(CLUSTER), ..Remembered::default() };
        let mut view = View::new(normal(1, &[10]), remembered, configured);
        let changes = view.merge(host(2), &former.exchange(|| false), NOW);
        assert_eq!((changes.tables, changes.notes), (vec![DEFAULT_TABLE.to_owned()], notes));
        assert_eq!(view.tables(), former.tables());
        assert_eq!(view.tables().version(), former.tables().version());
    }
}

#[test]
fn a_damaged_fact_about_a_table_is_ignored_and_its_neighbours_are_taken() {
    let sound = Table { name: "users".to_owned(), incarnation: 1, ..Table::default_with_factor(3) };
    let damaged = Table { name: "Users".to_owned(), ..sound.clone() };
    let told = Exchange { tables: vec![damaged, sound.clone()], ..exchange(vec![]) };
    let mut view = member_of_cluster();

    let changes = view.merge(host(2), &told, NOW);

    assert_eq!(changes.tables, ["users"]);
    assert_eq!(changes.notes, [Note::TableIgnored { flaw: FactFlaw::Malformed }]);
    assert_eq!(view.tables().iter().collect::<Vec<_>>(), [&sound]);
}

#[test]
fn a_member_is_up_while_its_connection_is() {
    let mut liveness = Liveness::default();
    let mut clock = Clock(Instant::now());
    assert!(!liveness.is_up(host(2)), "never spoken to");
    let down_it_was = liveness.on_failure(host(2), CallFailure::Unreachable, clock.tick());
    assert_eq!(down_it_was, SignOfDeath::None);
    assert!(liveness.on_answer(host(2), clock.tick()));
    assert!(!liveness.on_answer(host(2), clock.tick()), "up it was");

    for silence in [CallFailure::TimedOut, CallFailure::Local] {
        assert_eq!(liveness.on_failure(host(2), silence, clock.tick()), SignOfDeath::None);
        assert!(liveness.is_up(host(2)));
    }
    for broken in [CallFailure::Unreachable, CallFailure::Lost, CallFailure::Refused, CallFailure::WrongHost]
    {
        assert_eq!(liveness.on_failure(host(2), broken, clock.tick()), SignOfDeath::IsDown);
        assert!(!liveness.is_up(host(2)));
        liveness.on_answer(host(2), clock.tick());
    }
}

#[test]
fn a_call_that_is_older_than_the_last_answer_proves_no_death() {
    let mut liveness = Liveness::default();
    let mut clock = Clock(Instant::now());
    let old = clock.tick();
    liveness.on_answer(host(2), clock.tick());

    assert_eq!(liveness.on_failure(host(2), CallFailure::Lost, old), SignOfDeath::Outdated);
    assert!(liveness.is_up(host(2)));

    // The attempt that this is worth settles it.
    assert_eq!(liveness.on_failure(host(2), CallFailure::Unreachable, clock.tick()), SignOfDeath::IsDown);
    assert_eq!(liveness.on_failure(host(2), CallFailure::Lost, old), SignOfDeath::None, "down it was");
}

#[test]
fn what_a_member_sends_makes_it_up_unless_a_call_has_shown_the_contrary() {
    let mut liveness = Liveness::default();
    let mut clock = Clock(Instant::now());
    assert!(!liveness.is_settled(host(2)));
    assert_eq!(liveness.on_heard(host(2)), SignOfLife::IsUp);
    assert_eq!(liveness.on_heard(host(2)), SignOfLife::WasUp);
    assert!(!liveness.is_settled(host(2)), "it was not called yet");

    liveness.on_failure(host(2), CallFailure::Lost, clock.tick());
    assert_eq!(liveness.on_heard(host(2)), SignOfLife::Unproven);
    assert!(!liveness.is_up(host(2)));
    assert!(liveness.is_settled(host(2)), "it is known to be down");

    liveness.on_answer(host(2), clock.tick());
    assert_eq!(liveness.on_heard(host(2)), SignOfLife::WasUp);

    liveness.on_failure(host(3), CallFailure::TimedOut, clock.tick());
    assert!(liveness.is_settled(host(3)), "it was tried");
    assert_eq!(liveness.on_heard(host(3)), SignOfLife::IsUp, "silence is no proof of the contrary");
}

/// Instants that rise.
struct Clock(Instant);

impl Clock {
    fn tick(&mut self) -> Instant {
        self.0 += Duration::from_millis(1);
        self.0
    }
}

/// Descriptions of two members that disagree in all ways that do not make them malformed.
fn facts() -> impl Strategy<Value = Member> {
    (2u128..4, 0u64..3, 0u64..3, any::<bool>(), prop::sample::select(vec!["a:1", "b:1"])).prop_map(
        |(number, generation, version, is_normal, address)| Member {
            generation: Generation(NOW.0 + generation),
            version,
            address: address.to_owned(),
            ..if is_normal { normal(number, &[number as i64]) } else { joining(number, &[number as i64]) }
        },
    )
}

proptest! {
    #[test]
    fn views_do_not_depend_on_the_order_of_facts_nor_on_repetition(
        (facts, shuffled) in prop::collection::vec(facts(), 1..8)
            .prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
    ) {
        let mut forwards = member_of_cluster();
        facts.iter().for_each(|fact| { tell(&mut forwards, vec![fact.clone()]); });
        let mut shuffled_twice = member_of_cluster();
        tell(&mut shuffled_twice, shuffled.clone());
        tell(&mut shuffled_twice, shuffled);
        prop_assert_eq!(forwards, shuffled_twice);
    }

    #[test]
    fn two_nodes_that_tell_each_other_know_the_same(
        ours in prop::collection::vec(facts(), 0..5),
        theirs in prop::collection::vec(facts(), 0..5),
    ) {
        let mut one = member_of_cluster();
        let remembered = Remembered { cluster_id: Some(CLUSTER), ..Remembered::default() };
        let mut other = View::new(normal(9, &[90]), remembered, None);
        tell(&mut one, ours);
        tell(&mut other, theirs);

        other.merge(host(1), &one.exchange(|| false), NOW);
        one.merge(host(9), &other.exchange(|| false), NOW);
        prop_assert!(one.members().eq(other.members()));
        prop_assert_eq!(other.merge(host(1), &one.exchange(|| false), NOW), Changes::default());
    }

    #[test]
    fn no_facts_whatever_shrink_the_ring_or_panic(
        exchanges in prop::collection::vec(prop::collection::vec(any_member(), 0..6), 0..6),
        now: u64,
    ) {
        let mut view = member_of_cluster();
        for members in exchanges {
            let before = view.clone();
            view.merge(host(2), &exchange(members), Timestamp(now));
            for known in before.members() {
                let still = view.member(known.host_id).unwrap();
                prop_assert!(still.state >= known.state && still.tokens == known.tokens);
            }
        }
    }
}

fn any_member() -> impl Strategy<Value = Member> {
    let tokens = prop::collection::vec(-3i64..30, 0..4);
    ((1u128..5, any::<u64>(), any::<u64>(), ".{0,3}"), (".{0,3}", any::<bool>(), tokens)).prop_map(
        |((number, generation, version, address), (rack, is_normal, tokens))| Member {
            generation: Generation(generation),
            version,
            address,
            rack,
            ..if is_normal { normal(number, &tokens) } else { joining(number, &tokens) }
        },
    )
}
