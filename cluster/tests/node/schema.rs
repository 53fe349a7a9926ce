//! Any node changes the schema, all nodes come to know it, and none serves by an old one for want of asking.

use std::time::Duration;

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{All, Count, One, Quorum},
    error::RequestError,
    node::{ReadRequest, Readiness, SchemaChange, SchemaError, WriteRequest},
    table::{DEFAULT_TABLE_ID, Definition, Refusal, Replication},
};
use helenus_storage::{RecordKind, Step, StepOutcome, TableId};
use tokio::time::Instant;

use crate::support::{Cluster, put, read, write};

const PATIENCE: Duration = Duration::from_secs(5);

fn of_factor(factor: u32) -> Definition {
    Definition::replicated(Replication::Simple { factor })
}

async fn define(
    cluster: &Cluster,
    coordinator: &str,
    table: &str,
    definition: Definition,
) -> Result<SchemaChange, SchemaError> {
    cluster.node(coordinator).define_table(table, definition, Instant::now() + PATIENCE).await
}

async fn drop_table(cluster: &Cluster, coordinator: &str, table: &str) -> Result<SchemaChange, SchemaError> {
    cluster.node(coordinator).drop_table(table, Instant::now() + PATIENCE).await
}

fn write_to(table: &str) -> WriteRequest {
    WriteRequest { table: table.to_owned(), ..write("key", put("value"), Quorum) }
}

fn read_from(table: &str) -> ReadRequest {
    ReadRequest { table: table.to_owned(), ..read("key", Quorum) }
}

fn knows(cluster: &Cluster, name: &str, table: &str) -> bool {
    cluster.node(name).tables().iter().any(|known| known.name == table)
}

#[tokio::test(start_paused = true)]
async fn a_table_that_one_node_creates_is_known_to_all_before_it_says_so() {
    let cluster = Cluster::of(3).await;

    let change = define(&cluster, "n2", "users", of_factor(2)).await.expect("nothing speaks against it");

    assert!(change.is_created && change.is_agreed, "{change:?}");
    for name in ["n1", "n2", "n3"] {
        assert!(knows(&cluster, name, "users"), "{name}");
    }
    cluster.write("n3", write_to("users")).await.expect("all are alive");
    let outcome = cluster.node("n1").read(read_from("users")).await.expect("all are alive");
    assert_eq!(outcome.met.required, 2, "the table's own factor");
    let elsewhere = cluster.get("n1", "key", All).await;
    assert_eq!(elsewhere, Ok(None), "another table is another place");
}

#[tokio::test(start_paused = true)]
async fn repeating_a_definition_changes_nothing_and_defaults_are_those_of_the_table() {
    let cluster = Cluster::of(3).await;
    let definition = Definition {
        default_read_consistency: Count(3),
        default_write_consistency: One,
        default_ttl_seconds: 60,
        ..of_factor(3)
    };
    define(&cluster, "n1", "sessions", definition.clone()).await.expect("nothing speaks against it");

    let again = define(&cluster, "n3", "sessions", definition).await.expect("nothing speaks against it");
    assert!(!again.is_created && again.is_agreed, "{again:?}");

    let mut request = write_to("sessions");
    request.options.consistency = None;
    let written = cluster.write("n1", request).await.expect("all are alive");
    assert_eq!((written.met.level, written.met.required), (One, 1));
    let mut request = read_from("sessions");
    request.options.consistency = None;
    let outcome = cluster.node("n2").read(request).await.expect("all are alive");
    assert_eq!((outcome.met.level, outcome.met.required), (Count(3), 3));
    let record = outcome.record.expect("one of three has it");
    assert!(matches!(record.kind, RecordKind::Expiring { .. }), "it was given no time to live: {record:?}");
}

#[tokio::test(start_paused = true)]
async fn the_schema_survives_the_death_of_all_and_a_dropped_table_stays_dropped() {
    let mut cluster = Cluster::of(3).await;
    for table in ["kept", "dropped"] {
        define(&cluster, "n1", table, of_factor(3)).await.expect("nothing speaks against it");
        cluster.write("n2", write_to(table)).await.expect("all are alive");
    }
    drop_table(&cluster, "n3", "dropped").await.expect("it is there");

    for name in ["n1", "n2", "n3"] {
        cluster.kill(name).await;
    }
    for name in ["n2", "n3", "n1"] {
        cluster.start(name).await;
    }
    cluster.until("they find each other", |c| c.agrees_on(3)).await;

    let kept = cluster.node("n1").read(read_from("kept")).await.expect("all are alive");
    assert!(kept.record.is_some());
    let gone = cluster.node("n1").read(read_from("dropped")).await.map_err(|failure| failure.error);
    assert_eq!(gone, Err(RequestError::NoSuchTable("dropped".to_owned())));
    let twice = drop_table(&cluster, "n1", "dropped").await;
    assert_eq!(twice, Err(SchemaError::Refused(Refusal::NoSuchTable("dropped".to_owned()))));

    define(&cluster, "n1", "dropped", of_factor(3)).await.expect("the name is free");
    let anew = cluster.node("n2").read(read_from("dropped")).await.expect("all are alive");
    assert_eq!(anew.record, None, "what the first table held does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_down_catches_up_before_it_serves() {
    let mut cluster = Cluster::of(3).await;
    define(&cluster, "n1", "dropped", of_factor(3)).await.expect("nothing speaks against it");
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;

    let change = define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
    assert!(change.is_agreed, "who is down is not waited for");
    drop_table(&cluster, "n2", "dropped").await.expect("it is there");
    cluster.start("n3").await;
    cluster.until("it serves", |c| c.node("n3").readiness() == Readiness::Ready).await;

    let written = cluster.write("n3", write_to("users")).await;
    assert!(written.is_ok(), "{written:?}");
    assert!(!knows(&cluster, "n3", "dropped"));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_up_and_silent_is_waited_for_and_then_said_to_disagree() {
    let cluster = Cluster::of(3).await;
    cluster.pause("n3");
    let begun = Instant::now();

    let change = define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");

    assert!(change.is_created && !change.is_agreed, "{change:?}");
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE + Duration::from_secs(1));
    cluster.resume("n3");
    cluster.until("it hears of the table", |c| knows(c, "n3", "users")).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_know_a_table_asks_before_it_says_so() {
    let cluster = Cluster::of(3).await;
    cluster.cut("n1", "n3");
    define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
    assert!(!knows(&cluster, "n3", "users"), "nobody told it yet");

    let written = cluster.write("n3", write_to("users")).await;

    assert!(written.is_ok(), "n2 knows: {written:?}");
    let unknown = cluster.write("n3", write_to("nobody_knows")).await;
    assert_eq!(unknown.map(|_| ()), Err(RequestError::NoSuchTable("nobody_knows".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_do_not_hear_each_other_create_one_table() {
    let cluster = Cluster::of(3).await;
    for (one, other) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        cluster.cut(one, other);
    }
    let (here, there) = tokio::join!(
        define(&cluster, "n1", "users", of_factor(3)),
        define(&cluster, "n3", "users", Definition { default_ttl_seconds: 60, ..of_factor(3) }),
    );
    assert!(here.is_ok() && there.is_ok(), "{here:?} {there:?}");
    for (one, other) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        cluster.heal(one, other);
    }

    let version = |c: &Cluster, name| c.node(name).tables();
    cluster
        .until("they agree", |c| {
            version(c, "n1") == version(c, "n2") && version(c, "n2") == version(c, "n3") && c.agrees_on(3)
        })
        .await;
    assert!(knows(&cluster, "n2", "users"));
    cluster
        .write("n2", WriteRequest { key: Bytes::from_static(b"k"), ..write_to("users") })
        .await
        .expect("one table");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_serve_yet_changes_no_schema() {
    let mut cluster = Cluster::empty();
    cluster.start("n2").await;

    let change = define(&cluster, "n2", "users", of_factor(3)).await;

    assert!(matches!(change, Err(SchemaError::NotServing(_))), "{change:?}");
}

/// Ids of the user tables in the storage of a node, and its SSTables.
fn stored(cluster: &Cluster, name: &str) -> (usize, u64) {
    let engine = &cluster.processes[name].storage.engine;
    let tables = engine.tables().into_iter().filter(|table| *table > DEFAULT_TABLE_ID).count();
    (tables, engine.counters().sstables)
}

fn flush(cluster: &Cluster, name: &str) {
    let engine = &cluster.processes[name].storage.engine;
    engine.switch_memtables().expect("a sound disk");
    while engine.step(Step::Flush).expect("a sound disk") == StepOutcome::Worked {}
}

#[tokio::test(start_paused = true)]
async fn a_dropped_table_leaves_the_storage_of_every_node_at_once_or_when_it_is_back() {
    let mut cluster = Cluster::of(3).await;
    let before = stored(&cluster, "n1");
    define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
    cluster
        .write("n1", WriteRequest { table: "users".to_owned(), ..write("key", put("v"), All) })
        .await
        .expect("all");
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
    for name in ["n1", "n2"] {
        flush(&cluster, name);
        assert_eq!(stored(&cluster, name).0, before.0 + 1);
    }
    let live = cluster.processes["n1"].storage.engine.counters().sstables;

    drop_table(&cluster, "n2", "users").await.expect("it is there");

    for name in ["n1", "n2"] {
        cluster.until("storage has dropped it", |c| stored(c, name).0 == before.0).await;
    }
    assert_eq!(stored(&cluster, "n1").1, live - 1, "its file is gone");
    cluster.start("n3").await;
    cluster.until("n3 has dropped it", |c| stored(c, "n3").0 == before.0).await;

    // Created anew meanwhile, or while a node is down: the old one goes all the same.
    define(&cluster, "n1", "users", of_factor(3)).await.expect("the name is free");
    cluster.kill("n3").await;
    cluster.until("the death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
    drop_table(&cluster, "n1", "users").await.expect("it is there");
    define(&cluster, "n2", "users", of_factor(3)).await.expect("the name is free");
    cluster.start("n3").await;
    cluster.until("n3 has the new one", |c| knows(c, "n3", "users")).await;
    cluster.until("n3 has no other", |c| stored(c, "n3").0 == before.0 + 1).await;
    cluster.until("they find each other", |c| c.agrees_on(3)).await;
    let anew = cluster.node("n3").read(read_from("users")).await.expect("all are alive");
    assert_eq!(anew.record, None);
}

#[tokio::test(start_paused = true)]
async fn a_start_finishes_the_drop_that_a_crash_interrupted() {
    let mut cluster = Cluster::of(1).await;
    let before = stored(&cluster, "n1").0;
    // As if the process had died between the drop's fact and the drop: storage has a table that no fact tells of.
    cluster.processes["n1"].storage.engine.create_table(TableId(4711)).expect("a sound disk");
    cluster.restart("n1").await;
    assert_eq!(stored(&cluster, "n1").0, before);
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_table_that_is_dropped_meanwhile_is_an_error_with_a_name() {
    let cluster = Cluster::of(3).await;
    define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
    // Storage of the replicas has dropped it, and the coordinator has not heard of it.
    let id = cluster.node("n1").tables().iter().find(|table| table.name == "users").expect("defined").id();
    for name in ["n1", "n2", "n3"] {
        cluster.processes[name].storage.engine.drop_table(id).expect("a sound disk");
    }
    let written = cluster.write("n1", write_to("users")).await;
    let read = cluster.node("n1").read(read_from("users")).await;
    let (written, read) = (written.expect_err("it is gone"), read.expect_err("it is gone").error);
    assert!(matches!(written, RequestError::Failed { .. }), "{written:?}");
    assert!(matches!(read, RequestError::Failed { .. }), "{read:?}");
}
