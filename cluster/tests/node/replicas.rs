//! A replica does what it can, says what it did, and refuses what is not meant for it.

use std::time::Duration;

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{All, One, Quorum},
    membership::{Exchange, MemberState},
    message::{
        ClientRequest, Header, Message, Receipt, Relay, ReplicaError, Request, Response, TrafficClass,
    },
    node_id::HostId,
    partitioning::{Partitioner, storage_key},
    quorum::{AsOf, Wants},
    table::DEFAULT_TABLE_ID,
    time::{Timestamp, WallClock},
};
use helenus_storage::{Mutation, Record, TableId};

use crate::support::{Cluster, header, read};

fn of_n2(cluster: &Cluster, target: Option<HostId>) -> Header {
    Header {
        timestamp: cluster.machines["n2"].clock.now(),
        client_request: Some(ClientRequest { id: 7, is_traced: true }),
        ..header(cluster.node("n2").host_id(), target, TrafficClass::Request)
    }
}

fn key_of(key: &str) -> Bytes {
    storage_key(Partitioner::Murmur3.token(key.as_bytes()), key.as_bytes())
}

fn write(table: TableId) -> Request {
    let mutation = Mutation::single(key_of("key"), Record::plain(Timestamp(5), "value"));
    Request::Write { writes: vec![(table, mutation)].into(), relay: Relay::None, must_win: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn an_answer_carries_the_header_of_the_one_who_answers() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");

    let header = of_n2(&cluster, Some(node.host_id()));
    let answer = node.handle(Message { header: header.clone(), body: write(DEFAULT_TABLE_ID) }).await;

    assert_eq!(answer.body, Response::Written { results: vec![Ok(Receipt::PLAIN)] });
    assert_eq!((answer.header.sender, answer.header.target), (node.host_id(), Some(header.sender)));
    assert_eq!(
        (answer.header.client_request.map(|request| request.id), answer.header.remaining),
        (Some(7), Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_for_another_node_is_refused() {
    let cluster = Cluster::of(3).await;

    for target in [Some(cluster.node("n3").host_id()), None] {
        let header = of_n2(&cluster, target);
        let answer = cluster.node("n1").handle(Message { header, body: write(DEFAULT_TABLE_ID) }).await;
        assert_eq!(answer.body, Response::Failed(ReplicaError::WrongTarget));
    }
    assert_eq!(cluster.read("n1", "key", All).await.expect("all are alive").record, None);
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_not_done() {
    let cluster = Cluster::of(3).await;

    let header = Header { remaining: Duration::ZERO, ..of_n2(&cluster, Some(cluster.node("n1").host_id())) };
    let answer = cluster.node("n1").handle(Message { header, body: write(DEFAULT_TABLE_ID) }).await;

    assert_eq!(answer.body, Response::Failed(ReplicaError::Expired));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.read("n1", "key", All).await.expect("all are alive").record, None);
}

#[tokio::test(start_paused = true)]
async fn the_nodes_own_trees_and_unknown_tables_are_out_of_reach() {
    let cluster = Cluster::of(3).await;
    let target = Some(cluster.node("n1").host_id());

    for table in [1, 2, 1023, 4711] {
        let header = of_n2(&cluster, target);
        let written =
            cluster.node("n1").handle(Message { header: header.clone(), body: write(TableId(table)) }).await;
        let body = Request::Read {
            table: TableId(table),
            key: Bytes::from_static(b"identity"),
            as_of: AsOf { now: Timestamp(1), ..AsOf::default() },
            wants: Wants::Record,
        };
        let answer = cluster.node("n1").handle(Message { header, body }).await;
        let refused = Err(ReplicaError::NoSuchTable(table));
        assert_eq!(written.body, Response::Written { results: vec![refused] });
        assert_eq!(answer.body, Response::Failed(ReplicaError::NoSuchTable(table)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_own_a_key_applies_it_and_says_so() {
    let cluster = Cluster::with(3, |settings| settings.default_replication_factor = Some(1)).await;
    let node = cluster.node("n1");

    let mut owned_by_n1 = 0;
    for number in 0..30 {
        let key = key_of(&format!("key {number}"));
        let mutation = Mutation::single(key.clone(), Record::plain(Timestamp(5), "value"));
        let header = of_n2(&cluster, Some(node.host_id()));
        let writes = vec![(DEFAULT_TABLE_ID, mutation)].into();
        let body = Request::Write { writes, relay: Relay::None, must_win: Vec::new() };
        let answer = node.handle(Message { header: header.clone(), body }).await.body;
        let owns = answer == Response::Written { results: vec![Ok(Receipt::PLAIN)] };
        assert!(
            owns || answer
                == Response::Written { results: vec![Ok(Receipt { is_owner: false, newer: None })] },
            "{answer:?}"
        );
        owned_by_n1 += usize::from(owns);
        let body = Request::Read {
            table: DEFAULT_TABLE_ID,
            key,
            as_of: AsOf { now: Timestamp(6), ..AsOf::default() },
            wants: Wants::Record,
        };
        let answer = node.handle(Message { header, body }).await.body;
        assert_eq!(answer, Response::Record(Some(Record::plain(Timestamp(5), "value"))));
    }
    assert!((1..30).contains(&owned_by_n1), "one of three copies: {owned_by_n1}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_stores_a_record_tells_newcomers_so() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");
    let ask = async || {
        let nothing = Exchange { cluster_id: None, members: vec![], tables: vec![], has_user_records: false };
        let header = of_n2(&cluster, Some(node.host_id()));
        match node.handle(Message { header, body: Request::Exchange(nothing) }).await.body {
            Response::Exchange(told) => told.has_user_records,
            other => panic!("{other:?}"),
        }
    };
    assert!(!ask().await);

    let header = of_n2(&cluster, Some(node.host_id()));
    node.handle(Message { header, body: write(DEFAULT_TABLE_ID) }).await;

    assert!(ask().await);
}

#[tokio::test(start_paused = true)]
async fn reads_work_from_sstables_too() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");

    for process in cluster.processes.values() {
        process.storage.engine.switch_memtables().expect("the disk is sound");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert!(
        cluster.processes.values().all(|p| p.storage.engine.counters().sstables > 0),
        "they were flushed"
    );
    assert_eq!(cluster.get("n2", "key", All).await, Ok(Some("value".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_as_unavailable_does_not_close_a_forming_cluster() {
    let mut cluster = Cluster::of(1).await;
    cluster.put("n1", "key", "value", Quorum).await.expect_err("one of three replicas is not enough");

    cluster.start("n2").await;
    cluster.start("n3").await;

    cluster.until("all become normal", |c| c.agrees_on(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_remembers_over_a_restart_that_it_wrote_elsewhere() {
    let mut cluster = Cluster::with(3, |settings| settings.default_replication_factor = Some(1)).await;
    let n1 = cluster.node("n1").host_id();
    let mut coordinated = 0;
    for number in 0..20 {
        let key = format!("key {number}");
        let mut question = read(&key, One);
        question.options.trace = true;
        let trace = cluster.node("n1").read(question).await.expect("all are alive").met.trace;
        if !trace.iter().any(|event| event.what.starts_with(&format!("asked {n1} "))) {
            cluster.put("n1", &key, "value", One).await.expect("all are alive");
            coordinated += 1;
        }
    }
    assert!(coordinated > 0, "n1 owns a third of all keys");
    let engine = &cluster.processes["n1"].storage.engine;
    assert_eq!(engine.is_empty(DEFAULT_TABLE_ID).ok(), Some(true), "n1 stores none of them");

    cluster.restart("n1").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    cluster.start("n4").await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let why = cluster.seen("n4", "n4").and_then(|member| member.why).expect("it is joining");
    assert_eq!(cluster.seen("n1", "n4").map(|member| member.state), Some(MemberState::Joining));
    assert!(why.contains("(n1)"), "n1 says that it has coordinated writes: {why}");
}
