//! A traced request tells what each replica did for it, and when.

use helenus_cluster::{
    consistency::Consistency::{All, Quorum},
    message::{ClientRequest, Header, Message, Request, Response, TrafficClass},
    node::{ScanRequest, TraceEvent},
    node_id::HostId,
    partitioning::{Partitioner, storage_key},
    quorum::{AsOf, Wants},
    scan::Bounds,
    table::{DEFAULT_TABLE, DEFAULT_TABLE_ID},
    time::WallClock as _,
};

use crate::support::{Cluster, at, header, put, read, write};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// What is told of a node, in its order.
fn told_of(trace: &[TraceEvent], host_id: HostId) -> Vec<&str> {
    trace.iter().filter(|event| event.node == host_id).map(|event| event.what.as_str()).collect()
}

/// Whether these steps were told one after the other, whatever was told in between.
fn tells(trace: &[TraceEvent], host_id: HostId, steps: &[&str]) -> bool {
    let mut told = told_of(trace, host_id).into_iter();
    steps.iter().all(|step| told.any(|what| what.starts_with(step)))
}

fn is_in_order(trace: &[TraceEvent]) -> bool {
    trace.is_sorted_by_key(|event| event.at_us)
}

async fn traced_write(cluster: &Cluster, value: &str) -> Vec<TraceEvent> {
    let mut request = write("key", put(value), All);
    request.options.trace = true;
    cluster.node("n1").write(request).await.expect("all are alive").met.trace
}

async fn traced_read(cluster: &Cluster) -> Vec<TraceEvent> {
    let mut request = read("key", All);
    request.options.trace = true;
    cluster.node("n1").read(request).await.expect("all are alive").met.trace
}

#[tokio::test(start_paused = true)]
async fn a_traced_write_tells_the_steps_of_each_replica() {
    let cluster = Cluster::of(3).await;

    let trace = traced_write(&cluster, "value").await;

    assert!(is_in_order(&trace), "{trace:#?}");
    for name in NODES {
        let steps = ["received", "queued for the commit log", "applied, and synced to disk", "applied"];
        assert!(tells(&trace, cluster.node(name).host_id(), &steps), "{name}: {trace:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_traced_read_tells_the_steps_of_each_replica() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");

    let trace = traced_read(&cluster).await;

    assert!(is_in_order(&trace), "{trace:#?}");
    let host_ids = NODES.map(|name| cluster.node(name).host_id());
    for host_id in host_ids {
        assert!(
            tells(&trace, host_id, &["received", "read from memory", "answered"]),
            "{host_id}: {trace:#?}"
        );
    }
    let digests = host_ids.into_iter().filter(|host_id| tells(&trace, *host_id, &["computed the digest"]));
    assert_eq!(digests.count(), 2, "{trace:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_traced_repair_tells_the_steps_of_the_replica_that_was_behind() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill("n2").await;
    cluster.until("its death is known", |c| c.sees_down("n1", "n2") && c.sees_down("n3", "n2")).await;
    cluster.put("n1", "key", "new", Quorum).await.expect("two of three are alive");
    cluster.start("n2").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;

    let trace = traced_read(&cluster).await;

    let behind = cluster.node("n2").host_id();
    let steps = ["received", "read from memory", "received", "applied, and synced to disk", "repaired"];
    assert!(tells(&trace, behind, &steps), "{trace:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_traced_scan_tells_the_steps_of_each_replica() {
    let cluster = Cluster::of(3).await;
    cluster.put("n1", "key", "value", All).await.expect("all are alive");

    let mut options = at(All);
    options.trace = true;
    let request = ScanRequest {
        table: DEFAULT_TABLE.to_owned(),
        bounds: Bounds::default(),
        limit: 10,
        page: None,
        options,
    };
    let trace = cluster.node("n1").scan(request).await.expect("all are alive").met.trace;

    for name in NODES {
        let steps = ["received", "scanned"];
        assert!(tells(&trace, cluster.node(name).host_id(), &steps), "{name}: {trace:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_tells_steps_only_if_the_request_is_traced() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");
    for is_traced in [false, true] {
        let header = Header {
            timestamp: cluster.machines["n2"].clock.now(),
            client_request: Some(ClientRequest { id: 7, is_traced }),
            ..header(cluster.node("n2").host_id(), Some(node.host_id()), TrafficClass::Request)
        };
        let key = storage_key(Partitioner::Murmur3.token(b"key"), b"key");
        let as_of = AsOf::default();
        let body = Request::Read { table: DEFAULT_TABLE_ID, key, as_of, wants: Wants::Record };

        let answer = node.handle(Message { header, body }).await;

        assert_eq!(answer.body, Response::Record(None));
        let told: Vec<_> = answer.header.steps.iter().map(|step| step.what.as_str()).collect();
        let expected: &[&str] = if is_traced { &["received", "read from memory"] } else { &[] };
        assert_eq!(told, expected);
    }
}
