//! Forged or damaged gossip never changes the ring and never stops a node; it is counted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::Quorum,
    membership::{
        Exchange, Gossip, GossipAnswer, GossipRequest, Member, MemberState,
        digest::{Delta, Digest, Fact, Span, Syn, Tag},
    },
    message::{Header, Message, ReplicaError, Request, Response, TrafficClass},
    node_id::{ClusterId, Generation, HostId},
    wire::{self, Encoded},
};
use uuid::Uuid;

use crate::support::{Cluster, header};

/// What a node that calls itself n2 says to n1.
fn said(cluster: &Cluster, gossip: Gossip) -> Message<Request> {
    let cluster_id = cluster.status("n1").cluster_id.expect("it was formed");
    Message { header: of_n2(cluster), body: Request::Gossip(GossipRequest { cluster_id, gossip }) }
}

fn of_n2(cluster: &Cluster) -> Header {
    header(cluster.node("n2").host_id(), Some(cluster.node("n1").host_id()), TrafficClass::Control)
}

fn stranger(number: u128, tokens: Vec<i64>) -> Member {
    Member {
        host_id: HostId(Uuid::from_u128(number)),
        generation: Generation(1_767_225_600),
        version: 1,
        address: "stranger:1".to_owned(),
        datacenter: "dc1".to_owned(),
        rack: "rack1".to_owned(),
        state: MemberState::Normal,
        tokens,
    }
}

fn delta(member: Member) -> Delta {
    let digest = Digest {
        host_id: member.host_id,
        removed: member.state == MemberState::Removed,
        generation: member.generation,
        heartbeat: 1,
        described: member.version,
        told: 0,
    };
    Delta { digest, description: Some(Arc::new(member)), after: 0, facts: Vec::new() }
}

/// What n1 knows, but for what goes on by itself.
fn ring(cluster: &Cluster) -> Vec<(HostId, String, MemberState, usize, u64)> {
    let members = cluster.node("n1").gossip_status().members;
    members.into_iter().map(|m| (m.host_id, m.address, m.state, m.tokens, m.generation)).collect()
}

/// A token of another member: those of a machine are drawn from its seed, so they are in what it tells.
async fn tokens_of_n2(cluster: &Cluster) -> Vec<i64> {
    let nothing = Syn { span: Span::all(), digests: Vec::new() };
    let answer = cluster.node("n1").handle(said(cluster, Gossip::Syn(nothing))).await;
    let Response::Gossip(reply) = answer.body else { panic!("{answer:?}") };
    let GossipAnswer::Ack(ack) = reply.answer else { panic!("{reply:?}") };
    let n2 = cluster.node("n2").host_id();
    let described = ack.deltas.iter().filter_map(|delta| delta.description.as_ref());
    described
        .filter(|member| member.host_id == n2)
        .map(|member| member.tokens.clone())
        .next()
        .expect("it is known")
}

#[tokio::test(start_paused = true)]
async fn forged_descriptions_and_counters_change_nothing_and_are_counted() {
    let cluster = Cluster::of(3).await;
    let before = ring(&cluster);
    let n3 = cluster.node("n3").host_id();
    let taken = tokens_of_n2(&cluster).await;
    let known = cluster.node("n1").gossip_status().members;
    let n3_known = known.iter().find(|member| member.host_id == n3).expect("a member");
    let absurd = Generation(u64::MAX);
    let nothing = Digest::nothing(n3);
    let fact = |bytes| (Tag(9), Fact { version: 1, bytes: vec![0; bytes] });
    let forged = [
        delta(Member { generation: absurd, ..stranger(77, vec![5]) }),
        delta(stranger(77, taken)),
        delta(stranger(77, vec![])),
        delta(stranger(77, (0..5000).collect())),
        delta(Member { address: "a\nb".to_owned(), ..stranger(77, vec![5]) }),
        // Of a member that exists: other tokens, and an absurd life.
        delta(Member {
            host_id: n3,
            generation: Generation(n3_known.generation + 9),
            ..stranger(0, vec![5])
        }),
        delta(Member { host_id: n3, generation: absurd, ..stranger(0, vec![5]) }),
        // Its removal, by one who does not even know its tokens.
        delta(Member {
            host_id: n3,
            generation: absurd,
            state: MemberState::Removed,
            ..stranger(0, vec![5])
        }),
        Delta {
            digest: Digest { heartbeat: u64::MAX, ..nothing },
            description: None,
            after: 0,
            facts: vec![],
        },
        Delta { digest: Digest { told: 1, ..nothing }, description: None, after: 0, facts: vec![fact(2000)] },
    ];

    let count = forged.len() as u64;
    for delta in forged {
        let rejected = cluster.node("n1").gossip_status().rejected;
        let answer = cluster.node("n1").handle(said(&cluster, Gossip::Ack2(vec![delta.clone()]))).await;
        assert!(matches!(answer.body, Response::Gossip(_)), "{delta:?}: {answer:?}");
        assert_eq!(cluster.node("n1").gossip_status().rejected, rejected + 1, "{delta:?}");
    }
    assert!(cluster.node("n1").gossip_status().rejected >= count);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ring(&cluster), before);
    assert!(cluster.agrees_on(3));
    cluster.put("n1", "key", "value", Quorum).await.expect("all go on");
}

#[tokio::test(start_paused = true)]
async fn gossip_of_another_cluster_is_not_looked_at() {
    let cluster = Cluster::of(3).await;
    let before = ring(&cluster);
    let gossip = Gossip::Ack2(vec![delta(stranger(77, vec![5]))]);
    let other = GossipRequest { cluster_id: ClusterId(Uuid::from_u128(1)), gossip };
    let message = Message { header: of_n2(&cluster), body: Request::Gossip(other) };

    let answer = cluster.node("n1").handle(message).await;

    assert_eq!(answer.body, Response::Failed(ReplicaError::OtherCluster));
    assert_eq!(cluster.node("n1").counters().foreign_gossip, 1);
    let theirs = exchange(&cluster, ClusterId(Uuid::from_u128(1)), vec![stranger(77, vec![5])]);
    cluster.node("n1").handle(theirs).await;
    assert_eq!(cluster.node("n1").counters().foreign_gossip, 2);
    assert_eq!(ring(&cluster), before);
}

fn exchange(cluster: &Cluster, cluster_id: ClusterId, members: Vec<Member>) -> Message<Request> {
    let body =
        Exchange { cluster_id: Some(cluster_id), members, tables: Vec::new(), has_user_records: false };
    Message { header: of_n2(cluster), body: Request::Exchange(body) }
}

#[tokio::test(start_paused = true)]
async fn a_forged_exchange_changes_nothing_and_every_fact_of_it_is_counted() {
    let cluster = Cluster::of(3).await;
    let before = ring(&cluster);
    let cluster_id = cluster.status("n1").cluster_id.expect("it was formed");
    let taken = tokens_of_n2(&cluster).await;
    // More than a merge has notes for.
    let members = (100..140).map(|number| stranger(number, taken.clone())).collect();

    cluster.node("n1").handle(exchange(&cluster, cluster_id, members)).await;

    assert_eq!(cluster.node("n1").counters().facts_rejected, 40);
    assert_eq!(ring(&cluster), before);
}

#[tokio::test(start_paused = true)]
async fn claims_about_a_node_are_outbid_by_it() {
    let cluster = Cluster::of(3).await;
    let n3 = cluster.node("n3").host_id();
    let beats = |c: &Cluster, observer| {
        let members = c.node(observer).gossip_status().members;
        members.into_iter().find(|member| member.host_id == n3).map_or(0, |member| member.heartbeat)
    };
    // Heartbeats from far ahead: were they believed for good, the real ones would be no news any more. The first is not
    // more than a node can have counted, the others are.
    for (heartbeat, is_believed) in [(1 << 38, true), (1 << 48, false), (u64::MAX, false)] {
        let before = beats(&cluster, "n1");
        let members = cluster.node("n1").gossip_status().members;
        let known = members.iter().find(|member| member.host_id == n3).expect("a member").clone();
        let ahead = Digest {
            host_id: n3,
            removed: false,
            generation: Generation(known.generation),
            heartbeat,
            described: known.described,
            told: 0,
        };
        let syn = Syn { span: Span::of(n3), digests: vec![ahead] };
        let rejected = cluster.node("n1").counters().facts_rejected;
        cluster.node("n1").handle(said(&cluster, Gossip::Syn(syn))).await;

        let rejected = cluster.node("n1").counters().facts_rejected - rejected;
        assert_eq!(rejected, u64::from(!is_believed), "{heartbeat}");
        let next = if is_believed { heartbeat } else { before };
        cluster.until("it goes on", |c| (next + 1..next + 1000).contains(&beats(c, "n2"))).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.agrees_on(3));
    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.node(name).gossip_status().convictions, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn truncated_and_damaged_gossip_is_no_message_or_changes_nothing() {
    let cluster = Cluster::of(3).await;
    let before = ring(&cluster);
    let deltas = vec![delta(stranger(77, vec![5])), delta(stranger(78, vec![6]))];
    let whole = wire::encode_request(&said(&cluster, Gossip::Ack2(deltas)));
    for length in 0..whole.payload.len() {
        let cut = Encoded { payload: whole.payload.slice(..length), ..whole.clone() };
        assert!(wire::decode_request(cut).is_err(), "{length} bytes of {}", whole.payload.len());
    }
    let mut state = 1_u64;
    for _ in 0..500 {
        let mut payload = whole.payload.to_vec();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) as usize % payload.len();
            payload[place] = (state >> 56) as u8;
        }
        let damaged = Encoded { head: whole.head.clone(), payload: Bytes::from(payload) };
        // What decodes all the same is another message, and judged as one.
        if let Ok(message) = wire::decode_request(damaged) {
            cluster.node("n1").handle(message).await;
        }
    }
    let known = ring(&cluster);
    assert!(before.iter().all(|member| known.contains(member)), "{known:?}");
    cluster.put("n1", "key", "value", Quorum).await.expect("all go on");
}
