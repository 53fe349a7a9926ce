//! Promise: whatever gossip brings, in whatever order and however often, the newest of each member wins and nothing of
//! it is missed; a removed member stays removed; damage is ignored alone.

mod setting;

use std::sync::Arc;

use helenus_cluster::{
    membership::{
        Flaw, Member, MemberState, Rumors,
        digest::{Delta, Digest, Fact, MAX_DELTA_BYTES, MAX_DIGESTS, Span, Syn, Tag},
    },
    node_id::{Generation, HostId},
    time::Timestamp,
};
use proptest::prelude::*;
use setting::{NOW, host, normal};

/// What a node that started just now can have counted at most: ten thousand a second, in the year by which clocks may
/// differ.
const MOST: u64 = 365 * 24 * 60 * 60 * 10_000;

const COLOUR: Tag = Tag(1000);
const SIZE: Tag = Tag(1001);

fn node(number: u128) -> Rumors {
    Rumors::new(Arc::new(normal(number, &[number as i64])))
}

/// One meeting: all three messages.
fn meet(one: &mut Rumors, other: &mut Rumors) -> usize {
    let syn = one.syn(0);
    let (ack, news) = other.on_syn(&syn, NOW);
    assert_eq!(news.flaws, []);
    assert_eq!(one.on_ack(&ack, NOW).flaws, []);
    assert_eq!(one.accept(&ack.deltas, NOW).flaws, []);
    let wanted = one.wanted(&ack.wanted);
    assert_eq!(other.accept(&wanted, NOW).flaws, []);
    ack.deltas.len() + wanted.len()
}

fn fact(rumors: &Rumors, number: u128, tag: Tag) -> Option<Vec<u8>> {
    rumors.facts(host(number)).find(|(known, _)| *known == tag).map(|(_, fact)| fact.bytes.clone())
}

fn digests(rumors: &Rumors) -> Vec<Digest> {
    rumors.syn(0).digests
}

#[test]
fn a_meeting_evens_out_both_sides() {
    let (mut one, mut two) = (node(1), node(2));
    one.tell(COLOUR, b"red".to_vec());
    two.tell(COLOUR, b"blue".to_vec());
    one.beat();

    meet(&mut one, &mut two);

    assert_eq!(digests(&one), digests(&two));
    assert_eq!(fact(&two, 1, COLOUR), Some(b"red".to_vec()));
    assert_eq!(fact(&one, 2, COLOUR), Some(b"blue".to_vec()));
    assert_eq!(meet(&mut two, &mut one), 0, "nothing is left to be told");
}

#[test]
fn news_is_relayed_by_those_who_do_not_understand_it() {
    let (mut one, mut two, mut three) = (node(1), node(2), node(3));
    one.tell(Tag(65_000), b"of a later build".to_vec());
    meet(&mut one, &mut two);
    meet(&mut two, &mut three);
    assert_eq!(fact(&three, 1, Tag(65_000)), Some(b"of a later build".to_vec()));
}

#[test]
fn a_heartbeat_travels_without_any_delta_and_is_noticed_once() {
    let (mut one, mut two, mut three) = (node(1), node(2), node(3));
    meet(&mut one, &mut two);
    meet(&mut two, &mut three);
    meet(&mut one, &mut two);
    one.beat();

    let (_, news) = two.on_syn(&one.ping(0), NOW);
    assert!(news.beating.contains(&host(1)));
    let (_, news) = two.on_syn(&one.ping(0), NOW);
    assert!(news.beating.is_empty());
    let (ack, _) = two.on_syn(&three.syn(0), NOW);
    assert_eq!(ack.deltas, []);
    assert!(three.on_ack(&ack, NOW).beating.contains(&host(1)), "by hearsay too");
}

#[test]
fn only_what_is_new_is_sent_again() {
    let (mut one, mut two) = (node(1), node(2));
    one.tell(COLOUR, b"red".to_vec());
    one.tell(SIZE, b"small".to_vec());
    meet(&mut one, &mut two);
    one.tell(SIZE, b"large".to_vec());
    one.tell(COLOUR, b"red".to_vec());

    let (ack, _) = two.on_syn(&one.syn(0), NOW);
    let deltas = one.wanted(&ack.wanted);
    assert_eq!(deltas.len(), 1);
    assert_eq!(deltas[0].facts.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [SIZE]);
    assert_eq!(deltas[0].description, None);
}

#[test]
fn a_later_start_replaces_all_that_was_said_in_an_earlier_one() {
    let (mut one, mut two) = (node(1), node(2));
    one.tell(COLOUR, b"red".to_vec());
    one.beat();
    meet(&mut one, &mut two);

    let own = normal(1, &[1]);
    let again = Member { generation: Generation(own.generation.0 + 1), version: 0, ..own };
    let mut restarted = Rumors::new(Arc::new(again));
    restarted.tell(SIZE, b"large".to_vec());
    meet(&mut two, &mut restarted);

    assert_eq!(fact(&two, 1, COLOUR), None, "it belonged to the life before");
    assert_eq!(fact(&two, 1, SIZE), Some(b"large".to_vec()));
    // And nothing of the life before comes back with those who have slept.
    meet(&mut one, &mut two);
    assert_eq!(fact(&two, 1, COLOUR), None);
}

#[test]
fn a_removed_member_stays_removed_whatever_is_said_of_it() {
    let (mut one, mut two, mut three) = (node(1), node(2), node(3));
    meet(&mut one, &mut two);
    meet(&mut two, &mut three);
    let known = normal(1, &[1]);
    let generation = Generation(known.generation.0 + 1);
    let tombstone = Member { generation, version: 0, state: MemberState::Removed, ..known.clone() };
    two.describe(Arc::new(tombstone));

    // Its next life is later than the tombstone, and goes round.
    let next = Member { generation: Generation(known.generation.0 + 1000), ..known };
    let mut back = Rumors::new(Arc::new(next));
    meet(&mut back, &mut three);
    meet(&mut back, &mut two);
    meet(&mut three, &mut two);

    for rumors in [&two, &three] {
        assert!(rumors.digest(host(1)).is_some_and(|digest| digest.removed));
    }
}

#[test]
fn a_node_goes_on_from_what_others_have_heard_of_it() {
    let (mut one, mut two) = (node(1), node(2));
    for number in 0..9_u8 {
        one.tell(COLOUR, vec![number]);
        one.beat();
    }
    meet(&mut one, &mut two);
    // Restored from a copy: the same generation, older facts.
    let mut old = node(1);
    old.tell(COLOUR, b"old".to_vec());

    meet(&mut two, &mut old);
    meet(&mut two, &mut old);

    assert_eq!(fact(&two, 1, COLOUR), Some(b"old".to_vec()), "it alone knows what holds");
    assert_eq!(digests(&two), digests(&old));
}

#[test]
fn a_gap_is_not_taken_for_knowledge() {
    let (mut one, mut two) = (node(1), node(2));
    meet(&mut one, &mut two);
    one.tell(COLOUR, b"red".to_vec());
    let before = one.digest(host(1)).expect("itself");
    one.tell(SIZE, b"large".to_vec());
    let late = one.wanted(&[before]);
    assert_eq!(late[0].facts.len(), 1);

    two.accept(&late, NOW);
    assert_eq!(two.digest(host(1)).map(|digest| digest.told), Some(0), "the colour is missing");
    meet(&mut one, &mut two);
    assert_eq!(fact(&two, 1, COLOUR), Some(b"red".to_vec()));
}

#[test]
fn messages_are_bounded_and_bring_the_latest_news_first() {
    let mut one = node(1);
    let crowd = 2..4000_u128;
    for number in crowd.clone() {
        let many: Vec<i64> = (0..16).map(|step| (number * 100 + step) as i64).collect();
        one.describe(Arc::new(normal(number, &many)));
    }

    let syn = one.syn(0);
    assert_eq!(syn.digests.len(), MAX_DIGESTS);
    let mut two = node(2);
    let (ack, _) = two.on_syn(&syn, NOW);
    assert!(ack.wanted.len() <= MAX_DIGESTS);
    let deltas = one.wanted(&ack.wanted);
    assert!(deltas.iter().map(Delta::size_bytes).sum::<usize>() <= MAX_DELTA_BYTES);
    let wanted_last = ack.wanted.iter().map(|digest| digest.host_id).max().expect("it knows nobody");
    assert_eq!(deltas[0].digest.host_id, wanted_last, "described last");

    // All parts together, and as many rounds as it takes, bring everything.
    for round in 0..40 {
        let (ack, _) = two.on_syn(&one.syn(round), NOW);
        two.accept(&one.wanted(&ack.wanted), NOW);
    }
    let all = crowd.filter(|number| two.digest(host(*number)).is_some()).count();
    assert_eq!(all, 3998);
    let parts: Vec<Span> = (0..4).map(|part| one.syn(part).span).collect();
    assert_eq!((parts[0].from, parts[3].to), (Span::all().from, Span::all().to));
    assert!(parts.windows(2).all(|pair| pair[0].to.0.as_u128() + 1 == pair[1].from.0.as_u128()));
}

#[test]
fn each_malformed_delta_is_ignored_and_reported_and_its_neighbours_are_taken() {
    let good = |number: u128| Delta {
        digest: Digest {
            described: 1,
            told: 2,
            generation: normal(number, &[1]).generation,
            ..Digest::nothing(host(number))
        },
        description: Some(Arc::new(normal(number, &[number as i64]))),
        after: 0,
        facts: vec![(COLOUR, Fact { version: 1, bytes: vec![] }), (SIZE, Fact { version: 2, bytes: vec![] })],
    };
    let fact = |version, bytes| Fact { version, bytes: vec![0; bytes] };
    let digest = good(3).digest;
    let damaged = [
        (Delta { digest: Digest { heartbeat: MOST + 1, ..digest }, ..good(3) }, Flaw::Counter),
        (Delta { digest: Digest { described: MOST + 1, ..digest }, ..good(3) }, Flaw::Counter),
        (Delta { digest: Digest { told: u64::MAX, ..digest }, ..good(3) }, Flaw::Counter),
        (Delta { after: u64::MAX, ..good(3) }, Flaw::Facts),
        (Delta { facts: vec![(COLOUR, fact(3, 0))], ..good(3) }, Flaw::Facts),
        (Delta { facts: vec![(COLOUR, fact(0, 0))], ..good(3) }, Flaw::Facts),
        (Delta { facts: vec![(COLOUR, fact(2, 0)), (SIZE, fact(1, 0))], ..good(3) }, Flaw::Facts),
        (Delta { facts: vec![(COLOUR, fact(1, Delta::MAX_FACT_BYTES + 1))], ..good(3) }, Flaw::Facts),
        (Delta { description: Some(Arc::new(normal(4, &[4]))), ..good(3) }, Flaw::Facts),
        (Delta { digest: Digest { removed: true, ..digest }, ..good(3) }, Flaw::Facts),
        (Delta { digest: Digest { generation: Generation(7), ..digest }, ..good(3) }, Flaw::Facts),
    ];
    for (delta, flaw) in damaged {
        let mut rumors = node(1);
        let news = rumors.accept(&[delta.clone(), good(5)], NOW);
        assert_eq!(news.flaws, [(host(3), flaw)], "{delta:?}");
        assert_eq!(rumors.digest(host(3)), None);
        assert!(rumors.digest(host(5)).is_some());
    }
}

#[test]
fn a_claim_that_no_node_can_have_reached_is_no_news_and_one_at_the_bound_is_gone_on_from() {
    let (mut one, mut two) = (node(1), node(2));
    meet(&mut one, &mut two);
    let known = two.digest(host(1)).expect("they have met");
    let more_than_a_year = (365 * 24 * 60 * 60 + 1) * 1_000_000;
    let absurd = [
        Digest { heartbeat: MOST + 1, ..known },
        Digest { told: MOST + 1, ..known },
        Digest { described: MOST + 1, ..known },
        Digest { generation: Generation(known.generation.0 + more_than_a_year), heartbeat: 1, ..known },
    ];
    for claim in absurd {
        let (ack, news) = two.on_syn(&Syn { span: Span::of(host(1)), digests: vec![claim] }, NOW);
        assert_eq!((news.flaws.len(), ack.wanted.len()), (1, 0), "{claim:?}");
        assert_eq!(two.digest(host(1)), Some(known));
        one.on_syn(&Syn { span: Span::of(host(1)), digests: vec![claim] }, NOW);
    }
    one.beat();
    let (_, news) = two.on_syn(&one.ping(0), NOW);
    assert!(news.beating.contains(&host(1)), "{news:?}");

    let bold = Digest { heartbeat: MOST, told: MOST, ..known };
    two.on_syn(&Syn { span: Span::of(host(1)), digests: vec![bold] }, NOW);
    meet(&mut two, &mut one);
    one.beat();
    let second_later = Timestamp(NOW.0 + 1_000_000);
    let (_, news) = two.on_syn(&one.ping(0), second_later);
    assert!(news.beating.contains(&host(1)), "{news:?}");
}

/// A member's life: what it does between two messages that it sends.
#[derive(Debug, Clone)]
enum Act {
    Tell(u16, u8),
    Beat,
    Restart,
    Move,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0u16..3, any::<u8>()).prop_map(|(tag, byte)| Act::Tell(tag, byte)),
        2 => Just(Act::Beat),
        1 => Just(Act::Restart),
        1 => Just(Act::Move),
    ];
    prop::collection::vec(act, 1..12)
}

/// Deltas that the member sent in its life, each beyond what someone had heard of it before; and how it ended.
fn life(number: u128, acts: &[Act], cuts: &[usize]) -> (Vec<Delta>, Rumors) {
    let mut own = normal(number, &[number as i64]);
    let mut rumors = Rumors::new(Arc::new(own.clone()));
    let mut heard = vec![Digest::nothing(host(number))];
    let mut deltas = Vec::new();
    for (step, act) in acts.iter().enumerate() {
        match act {
            Act::Tell(tag, byte) => rumors.tell(Tag(*tag), vec![*byte]),
            Act::Beat => rumors.beat(),
            Act::Restart => {
                own = Member { generation: Generation(own.generation.0 + 1), version: 0, ..own };
                rumors = Rumors::new(Arc::new(own.clone()));
            }
            Act::Move => {
                own = Member { version: own.version + 1, address: format!("moved:{step}"), ..own };
                rumors.describe(Arc::new(own.clone()));
            }
        }
        let from = heard[cuts.get(step).copied().unwrap_or(0) % heard.len()];
        deltas.extend(rumors.wanted(&[from]));
        heard.push(rumors.digest(host(number)).expect("itself"));
    }
    (deltas, rumors)
}

/// All that is known of a member.
type Knowledge = (Option<Digest>, Vec<(Tag, Fact)>);

fn known(rumors: &Rumors, numbers: &[u128]) -> Vec<Knowledge> {
    let of = |host_id: HostId| {
        let facts = rumors.facts(host_id).map(|(tag, fact)| (tag, fact.clone())).collect();
        (rumors.digest(host_id), facts)
    };
    numbers.iter().map(|number| of(host(*number))).collect()
}

proptest! {
    #[test]
    fn what_is_taken_whole_does_not_depend_on_order_or_repetition(
        (order, twice) in (acts(), acts()).prop_flat_map(|(one, two)| {
            let deltas = [life(2, &one, &[]).0, life(3, &two, &[]).0].concat();
            (Just(deltas.clone()).prop_shuffle(), Just([deltas.clone(), deltas].concat()).prop_shuffle())
        }),
    ) {
        // Each delta says all that was known then, so none needs another.
        let (mut one, mut two) = (node(1), node(1));
        order.iter().for_each(|delta| { one.accept(std::slice::from_ref(delta), NOW); });
        two.accept(&twice, NOW);
        prop_assert_eq!(known(&one, &[2, 3]), known(&two, &[2, 3]));
        let before = known(&two, &[2, 3]);
        two.accept(&order, NOW);
        prop_assert_eq!(before, known(&two, &[2, 3]), "repetition changes nothing");
    }

    #[test]
    fn after_a_meeting_the_newest_is_known_whatever_came_before(
        acts in acts(),
        cuts in prop::collection::vec(0usize..20, 12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (deltas, mut owner) = life(2, &acts, &cuts);
        let mut rumors = node(1);
        if !deltas.is_empty() {
            for index in order {
                rumors.accept(std::slice::from_ref(index.get(&deltas)), NOW);
            }
        }
        meet(&mut rumors, &mut owner);
        prop_assert_eq!(known(&rumors, &[2]), known(&owner, &[2]));
    }
}
