//! Promise: nodes of different clusters, protocols or partitioners do not talk, and both sides see why.

mod setting;

use helenus_cluster::{
    membership::handshake::{Greeting, PROTOCOL_VERSION, Refusal, check},
    node_id::{ClusterId, Generation},
};
use setting::host;
use uuid::Uuid;

fn greeting(number: u128) -> Greeting {
    Greeting {
        protocol_version: PROTOCOL_VERSION,
        cluster_name: "helenus".to_owned(),
        cluster_id: Some(cluster(1)),
        partitioner: "murmur3".to_owned(),
        host_id: host(number),
        generation: Generation(number as u64),
    }
}

fn cluster(number: u128) -> ClusterId {
    ClusterId(Uuid::from_u128(number))
}

#[test]
fn nodes_of_one_cluster_talk() {
    assert_eq!(check(&greeting(1), &greeting(2)), Ok(()));
}

#[test]
fn a_node_without_a_cluster_talks_to_all_of_its_name() {
    let newcomer = Greeting { cluster_id: None, ..greeting(2) };
    assert_eq!(check(&greeting(1), &newcomer), Ok(()));
    assert_eq!(check(&newcomer, &greeting(1)), Ok(()));
    assert_eq!(check(&newcomer, &Greeting { host_id: host(3), ..newcomer.clone() }), Ok(()));
}

#[test]
fn each_difference_is_refused_by_both_sides_and_named() {
    let ours = greeting(1);
    let name = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
    let (our_name, their_name) = name("helenus", "other");
    let (our_partitioner, their_partitioner) = name("murmur3", "byte-ordered");
    let table = [
        (
            Greeting { protocol_version: 3, ..greeting(2) },
            Refusal::ProtocolVersion { ours: 2, theirs: 3 },
            Refusal::ProtocolVersion { ours: 3, theirs: 2 },
            "protocol version 3 is not 2",
        ),
        (
            Greeting { cluster_name: their_name.clone(), ..greeting(2) },
            Refusal::ClusterName { ours: our_name.clone(), theirs: their_name.clone() },
            Refusal::ClusterName { ours: their_name, theirs: our_name },
            "cluster \"other\" is not \"helenus\"",
        ),
        (
            Greeting { partitioner: their_partitioner.clone(), ..greeting(2) },
            Refusal::Partitioner { ours: our_partitioner.clone(), theirs: their_partitioner.clone() },
            Refusal::Partitioner { ours: their_partitioner, theirs: our_partitioner },
            "partitioner \"byte-ordered\" is not \"murmur3\"",
        ),
        (
            Greeting { cluster_id: Some(cluster(2)), ..greeting(2) },
            Refusal::ClusterId { ours: cluster(1), theirs: cluster(2) },
            Refusal::ClusterId { ours: cluster(2), theirs: cluster(1) },
            "cluster id 00000000-0000-0000-0000-000000000002 is not 00000000-0000-0000-0000-000000000001: the two \
             clusters were formed apart",
        ),
    ];
    for (theirs, here, there, text) in table {
        assert_eq!(check(&ours, &theirs), Err(here.clone()));
        assert_eq!(check(&theirs, &ours), Err(there));
        assert_eq!(here.to_string(), text);
    }
}

#[test]
fn the_name_of_a_stranger_cannot_forge_log_lines() {
    let stranger = Greeting { cluster_name: "x\nERROR all is lost".to_owned(), ..greeting(2) };
    let refusal = check(&greeting(1), &stranger).unwrap_err();
    assert!(!refusal.to_string().contains('\n'));
}
