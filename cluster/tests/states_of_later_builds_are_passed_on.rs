//! Promise: a member in a state that this build does not know stops nobody. It is told to others as it came, keeps its
//! ranges, and those who own them without it miss no write.

mod setting;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use helenus_cluster::{
    membership::{
        Exchange, Gossip, GossipRequest, Member, MemberState, Remembered, Rumors, View,
        digest::{Delta, Span, Syn},
    },
    message::{Header, Message, Request, TrafficClass},
    node_id::{ClusterId, Generation},
    partitioning::{Ring, Token},
    placement::Strategy,
    table::Replication,
    time::Timestamp,
    wire,
};
use setting::{NOW, host, normal};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(77));
const LATER: MemberState = MemberState::Other(9);

fn in_later_state(number: u128, tokens: &[i64]) -> Member {
    Member { state: LATER, version: 5, ..normal(number, tokens) }
}

fn view() -> View {
    View::new(normal(1, &[10]), Remembered { cluster_id: Some(CLUSTER), ..Remembered::default() }, None)
}

fn told(members: Vec<Member>) -> Exchange {
    Exchange { cluster_id: Some(CLUSTER), members, tables: vec![], has_user_records: false }
}

#[test]
fn every_number_is_a_state_and_stays_the_number_that_it_was() {
    for number in 0..=u8::MAX {
        assert_eq!(u8::from(MemberState::from(number)), number);
        let member = Member { state: number.into(), ..normal(2, &[20]) };
        let header = Header {
            sender: host(2),
            generation: Generation(1),
            target: Some(host(1)),
            ring_version: 0,
            schema_version: 0,
            class: TrafficClass::Control,
            remaining: Duration::from_secs(1),
            timestamp: Timestamp(1),
            client_request: None,
            steps: Vec::new(),
        };
        let digest = Rumors::new(Arc::new(member.clone())).digest(host(2)).unwrap();
        let delta = Delta { digest, description: Some(Arc::new(member.clone())), after: 0, facts: vec![] };
        let gossip = GossipRequest { cluster_id: CLUSTER, gossip: Gossip::Ack2(vec![delta]) };
        for body in [Request::Exchange(told(vec![member])), Request::Gossip(gossip)] {
            let message = Message { header: header.clone(), body };
            assert_eq!(wire::decode_request(wire::encode_request(&message)), Ok(message));
        }
    }
}

#[test]
fn a_member_that_goes_on_to_a_later_state_is_told_to_others_as_it_came() {
    let (before, after) = (normal(2, &[20]), in_later_state(2, &[20]));
    let mut view = view();
    for member in [&before, &after, &before] {
        view.merge(host(2), &told(vec![member.clone()]), NOW);
    }
    assert_eq!(view.member(host(2)), Some(&after), "and older news does not take it back");
    assert!(view.exchange(|| false).members.contains(&after));

    let mut rumors = Rumors::new(Arc::new(normal(1, &[10])));
    rumors.describe(Arc::new(before));
    rumors.describe(Arc::new(after.clone()));
    let (ack, _) = rumors.on_syn(&Syn { span: Span::all(), digests: vec![] }, NOW);
    assert!(ack.deltas.iter().any(|delta| delta.description.as_deref() == Some(&after)));

    view.remove(host(2)).expect("it can still be removed");
    view.merge(host(2), &told(vec![after]), NOW);
    assert_eq!(view.member(host(2)), None);
}

#[test]
fn it_is_read_from_and_those_who_own_its_ranges_without_it_are_written_to() {
    let members = [normal(1, &[10]), in_later_state(2, &[20]), normal(3, &[30]), normal(4, &[40])];
    let ring = Ring::from_members(&members);
    let by_datacenter = BTreeMap::from([(members[0].datacenter.clone(), 2)]);
    for replication in
        [Replication::Simple { factor: 2 }, Replication::NetworkTopology { factors: by_datacenter }]
    {
        let place = |token| {
            let placement = Strategy::from(&replication).place(&ring, Token(token));
            (placement.natural, placement.pending)
        };
        assert_eq!(place(15), (vec![host(2), host(3)], vec![host(4)]), "{replication:?}");
        assert_eq!(place(5), (vec![host(1), host(2)], vec![host(3)]), "{replication:?}");
        assert_eq!(place(25), (vec![host(3), host(4)], vec![]), "{replication:?}");
    }
    assert_eq!(ring.owning_members(), 4);
    let normal_ring =
        Ring::from_members(&[normal(1, &[10]), normal(2, &[20]), normal(3, &[30]), normal(4, &[40])]);
    assert_ne!(
        ring.version(),
        normal_ring.version(),
        "whoever has not heard of it places other pending replicas"
    );
}
