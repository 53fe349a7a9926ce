//! Any node changes the schema, all nodes come to know it, and none serves by an old one for want of asking.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use helenus_cluster::{
    consistency::Consistency::{
        All, Any, Count, EachQuorum, LocalQuorum, LocalSerial, One, Quorum, Serial, Three, Two,
    },
    error::RequestError,
    message::{Get, Header, Message, ReplicaError, Request, Response, TrafficClass},
    node::{ReadRequest, Readiness, Report, ScanRequest, SchemaChange, SchemaError, Topic, WriteRequest},
    quorum::{AsOf, Wants},
    table::{DEFAULT_TABLE_ID, Definition, Refusal, Replication, Table},
};
use helenus_storage::{RecordKind, Step, StepOutcome, TableId};
use tokio::time::Instant;

use crate::support::{Cluster, at, header, put, read, write};

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
async fn a_factor_above_the_members_is_warned_of() {
    let cluster = Cluster::of(3).await;
    let own = cluster.node("n1").status().members[0].datacenter.clone();
    let in_own = |factor| {
        Definition::replicated(Replication::NetworkTopology { factors: [(own.clone(), factor)].into() })
    };
    for (definition, warned) in
        [(of_factor(3), None), (of_factor(4), Some("")), (in_own(3), None), (in_own(4), Some(&*own))]
    {
        let warnings = cluster.node("n1").warnings(&definition);
        assert_eq!(warnings.len(), usize::from(warned.is_some()), "{warnings:?}");
        let names = |place| warnings[0].contains("factor of 4") && warnings[0].contains(place);
        assert!(warned.is_none_or(names), "{warnings:?}");
    }
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

/// Which members know which version of the schema, as a node says.
async fn described(cluster: &Cluster, name: &str) -> Vec<Vec<String>> {
    let topic = Topic::Cluster { schemas: cluster.node(name).ask_schemas().await };
    let Some(Report::Cluster(description)) = cluster.node(name).report(&topic) else {
        panic!("it is about no table")
    };
    description.schema_versions.into_iter().map(|version| version.members).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_for_the_versions_knows_that_all_have_agreed() {
    let cluster = Cluster::of(5).await;
    for number in 0..20 {
        let change = define(&cluster, "n2", &format!("t{number}"), of_factor(3)).await;
        assert!(change.is_ok_and(|change| change.is_agreed));
        for name in ["n1", "n2", "n3"] {
            assert_eq!(described(&cluster, name).await.len(), 1, "{name}, {number}");
        }
    }

    cluster.pause("n5");
    let change = define(&cluster, "n2", "last", of_factor(3)).await.expect("nothing speaks against it");
    assert!(!change.is_agreed);
    let begun = Instant::now();
    let [with_the_last, without_it] = &*described(&cluster, "n1").await else {
        panic!("n5 has not heard of it")
    };
    assert_eq!(
        (with_the_last.len() - 1).abs_diff(without_it.len() - 1),
        3,
        "{with_the_last:?} {without_it:?}"
    );
    assert!(begun.elapsed() <= Duration::from_secs(1), "who says nothing is not waited for long");
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
    define(&cluster, "n1", "orders", of_factor(3)).await.expect("nothing speaks against it");
    assert!(!knows(&cluster, "n3", "users") && !knows(&cluster, "n3", "orders"), "nobody told it yet");

    let written = cluster.write("n3", write_to("users")).await;
    assert!(written.is_ok(), "n2 knows: {written:?}");
    let unknown = cluster.write("n3", write_to("nobody_knows")).await;
    let no_such_table = Err(RequestError::NoSuchTable("nobody_knows".to_owned()));
    assert_eq!(unknown.map(|_| ()), no_such_table);

    let soon = || Instant::now() + Duration::from_secs(5);
    let described = cluster.node("n3").table("orders", soon()).await;
    assert_eq!(described.map(|table| table.name), Ok("orders".to_owned()), "n2 knows");
    let unknown = cluster.node("n3").table("nobody_knows", soon()).await;
    assert_eq!(unknown.map(|_| ()), no_such_table);
}

#[tokio::test(start_paused = true)]
async fn a_table_is_found_though_another_one_was_asked_for_just_before() {
    let cluster = Cluster::of(3).await;
    cluster.cut("n1", "n3");
    for table in ["users", "orders"] {
        let unknown = cluster.write("n3", write_to(table)).await.map(|_| ());
        assert_eq!(unknown, Err(RequestError::NoSuchTable(table.to_owned())));
        define(&cluster, "n1", table, of_factor(3)).await.expect("nothing speaks against it");
        assert!(!knows(&cluster, "n3", table), "nobody told it yet");

        let written = cluster.write("n3", write_to(table)).await;
        assert!(written.is_ok(), "n2 knows: {written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_could_not_ask_anybody_does_not_say_that_there_is_no_such_table() {
    let cluster = Cluster::of(3).await;
    cluster.cut("n1", "n3");
    cluster.cut("n2", "n3");
    let unknown = Err(RequestError::TableUnknown("users".to_owned()));

    for _ in 0..2 {
        assert_eq!(cluster.write("n3", write_to("users")).await.map(|_| ()), unknown);
        let request = read_from("users");
        assert_eq!(
            cluster.node("n3").read(request).await.map(|_| ()).map_err(|failure| failure.error),
            unknown
        );
        let soon = Instant::now() + Duration::from_secs(5);
        assert_eq!(cluster.node("n3").table("users", soon).await.map(|_| ()), unknown);
        // The rest of a batch goes on.
        let batch = vec![write_to("users"), write("key", put("v"), One)];
        let mut done = std::pin::pin!(cluster.node("n3").write_batch(batch));
        while let Some((place, outcome)) = done.next().await {
            let outcome = outcome.map(|_| ()).map_err(|failure| failure.error);
            assert_eq!(outcome, if place == 0 { unknown.clone() } else { Ok(()) });
        }
        cluster.until("the others are down", |c| c.sees_down("n3", "n1") && c.sees_down("n3", "n2")).await;
    }
    let nonsense = cluster.write("n3", write_to("no table")).await.map(|_| ());
    assert_eq!(nonsense, Err(RequestError::NoSuchTable("no table".to_owned())), "no table has such a name");
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

/// What a node knows of a table: its default time to live.
fn ttl(cluster: &Cluster, name: &str, table: &str) -> Option<u32> {
    let tables = cluster.node(name).tables();
    tables.iter().find(|known| known.name == table).map(|table| table.definition.default_ttl_seconds)
}

#[tokio::test(start_paused = true)]
async fn of_changes_the_last_holds_whatever_the_clocks_of_their_nodes_show() {
    let expiring = |default_ttl_seconds| Definition { default_ttl_seconds, ..of_factor(3) };
    let hour = Duration::from_secs(3600);
    for (is_ahead, error) in
        [(true, hour), (false, hour), (true, 24 * 365 * 2 * hour), (false, 24 * 365 * 2 * hour)]
    {
        let cluster = Cluster::of(3).await;
        let clock = &cluster.machines["n1"].clock;
        if is_ahead {
            clock.run_ahead_by(error);
        } else {
            clock.run_behind_by(error);
        }
        for (ttl_seconds, coordinator) in (1..).zip(["n1", "n2", "n1", "n3", "n1"]) {
            let change = define(&cluster, coordinator, "users", expiring(ttl_seconds)).await;
            assert!(change.is_ok_and(|change| change.is_agreed), "{is_ahead}, {error:?}");
            for name in ["n1", "n2", "n3"] {
                assert_eq!(ttl(&cluster, name, "users"), Some(ttl_seconds), "{is_ahead}, {error:?}");
            }
        }

        // The two sides do not hear each other, and that of the right time has the last word.
        for other in ["n2", "n3"] {
            cluster.cut("n1", other);
        }
        define(&cluster, "n1", "users", expiring(100)).await.expect("nothing speaks against it");
        for ttl_seconds in [50, 60] {
            define(&cluster, "n2", "users", expiring(ttl_seconds)).await.expect("nothing speaks against it");
        }
        for other in ["n2", "n3"] {
            cluster.heal("n1", other);
        }
        let is_said_by_all =
            |c: &Cluster| ["n1", "n2", "n3"].iter().all(|name| ttl(c, name, "users") == Some(60));
        cluster.until("they agree", is_said_by_all).await;

        drop_table(&cluster, "n2", "users").await.expect("it is there");
        assert!(!knows(&cluster, "n1", "users"), "{is_ahead}, {error:?}");
    }
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

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_has_not_heard_that_a_table_was_created_anew_goes_to_the_new_one() {
    for what in ["write", "read"] {
        let cluster = Cluster::of(3).await;
        define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
        cluster.write("n1", write_to("users")).await.expect("all are alive");
        cluster.cut("n1", "n3");
        drop_table(&cluster, "n1", "users").await.expect("it is there");
        define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
        assert_ne!(id_of(&cluster, "n1", "users"), id_of(&cluster, "n3", "users"), "nobody told it yet");

        match what {
            "write" => {
                cluster.write("n3", write_to("users")).await.expect("n2 and n3");
                let read = cluster.node("n2").read(read_from("users")).await.expect("n2 and another");
                assert!(read.record.is_some());
            }
            _ => {
                let read = cluster.node("n3").read(read_from("users")).await.expect("n2 and n3");
                assert_eq!(read.record, None, "what was written went with the former table");
            }
        }
        assert_eq!(id_of(&cluster, "n1", "users"), id_of(&cluster, "n3", "users"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_table_is_dropped_under_way_is_told_so_by_a_coordinator_that_had_not_heard() {
    for what in ["write", "read", "scan"] {
        let cluster = Cluster::of(3).await;
        define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
        cluster.cut("n1", "n3");
        drop_table(&cluster, "n1", "users").await.expect("it is there");
        assert!(knows(&cluster, "n3", "users"), "nobody told it yet");

        let node = cluster.node("n3");
        let outcome = match what {
            "write" => node.write(write_to("users")).await.map(drop),
            "read" => node.read(read_from("users")).await.map(drop),
            _ => node
                .scan(ScanRequest {
                    table: "users".to_owned(),
                    options: at(Quorum),
                    ..ScanRequest::default()
                })
                .await
                .map(drop),
        };

        let error = outcome.map_err(|failure| failure.error);
        assert_eq!(error, Err(RequestError::TableDropped("users".to_owned())), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_creations_through_one_node_one_is_told_that_it_was_it() {
    let cluster = Cluster::of(3).await;

    let created = (0..3).map(|_| define(&cluster, "n1", "users", of_factor(3)));
    let created = join_all(created).await.into_iter().map(|change| change.expect("all ask for the same"));

    assert_eq!(created.filter(|change| change.is_created).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_default_level_that_no_request_can_have_is_refused() {
    let cluster = Cluster::of(3).await;
    let with = |read, write, replication| Definition {
        default_read_consistency: read,
        default_write_consistency: write,
        ..Definition::replicated(replication)
    };
    let in_dc1 = || Replication::NetworkTopology { factors: [("dc1".to_owned(), 2)].into() };
    let (of_reads, of_writes) = ("default_read_consistency", "default_write_consistency");
    for (definition, refused) in [
        (with(Any, One, 2.into()), of_reads),
        (with(Three, One, 2.into()), of_reads),
        (with(One, Count(3), 2.into()), of_writes),
        (with(One, Count(3), in_dc1()), of_writes),
        (with(Serial, One, 2.into()), of_reads),
        (with(LocalSerial, One, 2.into()), of_reads),
        (with(One, Serial, 2.into()), of_writes),
    ] {
        let outcome = define(&cluster, "n1", "users", definition.clone()).await;
        let Err(SchemaError::Refused(Refusal::InvalidConsistency { field, detail })) = outcome else {
            panic!("{definition:?}: {outcome:?}");
        };
        assert!(field == refused && detail.starts_with(refused), "{definition:?}: {detail}");
    }
    assert!(!knows(&cluster, "n1", "users"));
    for (name, definition) in [
        ("with_hints", with(One, Any, 2.into())),
        ("local", with(LocalQuorum, EachQuorum, in_dc1())),
        ("all", with(Count(2), Two, in_dc1())),
    ] {
        define(&cluster, "n1", name, definition).await.expect("requests can have these");
    }
    // What is right for one factor is not for another.
    let altered = define(&cluster, "n1", "with_hints", with(Three, One, 2.into())).await;
    assert!(matches!(altered, Err(SchemaError::Refused(Refusal::InvalidConsistency { .. }))), "{altered:?}");
}

/// The id that the first table of a name has.
fn first_id(name: &str) -> TableId {
    let definition = of_factor(3);
    let table = Table { name: name.to_owned(), incarnation: 1, definition, version: 0, is_dropped: false };
    table.id()
}

/// Has storage of a node drop a table that no fact tells of, as if its name had collided with another.
fn spend_id(cluster: &Cluster, name: &str, id: TableId) {
    let engine = &cluster.processes[name].storage.engine;
    engine.create_table(id).expect("a sound disk");
    engine.drop_table(id).expect("a sound disk");
}

fn id_of(cluster: &Cluster, name: &str, table: &str) -> Option<TableId> {
    cluster.node(name).tables().iter().find(|known| known.name == table).map(Table::id)
}

#[tokio::test(start_paused = true)]
async fn a_new_table_passes_over_an_id_that_storage_has_dropped() {
    let mut cluster = Cluster::of(3).await;
    spend_id(&cluster, "n1", first_id("users"));

    define(&cluster, "n1", "users", of_factor(3)).await.expect("there are other ids");

    assert_ne!(id_of(&cluster, "n1", "users"), Some(first_id("users")));
    cluster
        .write("n3", WriteRequest { table: "users".to_owned(), ..write("key", put("v"), All) })
        .await
        .expect("all");
    cluster.restart("n1").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;
    assert!(knows(&cluster, "n1", "users"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_dropped_the_id_of_a_table_has_no_such_table_and_goes_on() {
    let mut cluster = Cluster::of(3).await;
    spend_id(&cluster, "n1", first_id("users"));

    // n2 knows nothing of it.
    define(&cluster, "n2", "users", of_factor(3)).await.expect("nothing speaks against it");
    define(&cluster, "n2", "others", of_factor(3)).await.expect("nothing speaks against it");
    for _ in 0..2 {
        assert_eq!(id_of(&cluster, "n2", "users"), Some(first_id("users")));
        assert!(!knows(&cluster, "n1", "users") && knows(&cluster, "n1", "others"));
        cluster.write("n2", write_to("users")).await.expect("two of three have it");
        let unknown = cluster.write("n1", write_to("users")).await.map(|_| ());
        assert_eq!(unknown, Err(RequestError::NoSuchTable("users".to_owned())));
        cluster.restart("n1").await;
        cluster.until("it is back", |c| c.agrees_on(3)).await;
    }
    let exchanged = cluster.network.exchanges();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        cluster.network.exchanges(),
        exchanged,
        "they know the same, so do not tell it again and again"
    );

    let anew = define(&cluster, "n1", "users", of_factor(3)).await.expect("there are other ids");
    assert!(anew.is_created && anew.table.id() != first_id("users"), "{anew:?}");
    for name in ["n1", "n2", "n3"] {
        cluster.until("all have the new one", |c| id_of(c, name, "users") == Some(anew.table.id())).await;
    }
    cluster
        .write("n1", WriteRequest { table: "users".to_owned(), ..write("key", put("v"), All) })
        .await
        .expect("all");
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_though_storage_has_dropped_a_table_that_the_schema_calls_live() {
    let mut cluster = Cluster::of(1).await;
    define(&cluster, "n1", "users", of_factor(1)).await.expect("nothing speaks against it");
    cluster.processes["n1"].storage.engine.drop_table(first_id("users")).expect("a sound disk");

    cluster.restart("n1").await;

    cluster.until("it serves", |c| c.node("n1").readiness() == Readiness::Ready).await;
    assert!(!knows(&cluster, "n1", "users"));
    define(&cluster, "n1", "users", of_factor(1)).await.expect("there are other ids");
    cluster.write("n1", write_to("users")).await.expect("it is alive");
}

#[tokio::test(start_paused = true)]
async fn two_replications_of_one_table_become_one_and_who_knew_the_other_counts_it() {
    let cluster = Cluster::of(3).await;
    for (one, other) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        cluster.cut(one, other);
    }
    define(&cluster, "n1", "users", of_factor(1)).await.expect("nothing speaks against it");
    tokio::time::sleep(Duration::from_secs(1)).await;
    define(&cluster, "n3", "users", of_factor(3)).await.expect("nothing speaks against it");
    for (one, other) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        cluster.heal(one, other);
    }

    let factor = |c: &Cluster, name| {
        let tables = c.node(name).tables();
        tables.iter().find(|table| table.name == "users").map(|table| table.definition.replication.factor())
    };
    for name in ["n1", "n2", "n3"] {
        cluster.until("the later one holds", |c| factor(c, name) == Some(3)).await;
    }
    let again = define(&cluster, "n1", "users", of_factor(1)).await;
    assert!(matches!(again, Err(SchemaError::Refused(Refusal::Conflict(_)))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_is_placed_in_datacenters_that_there_are() {
    let cluster = Cluster::of(3).await;
    let in_datacenters = |names: &[&str]| {
        let factors = names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        Definition::replicated(Replication::NetworkTopology { factors })
    };

    let refused = define(&cluster, "n1", "users", in_datacenters(&["dc1", "dcl"])).await;
    let Err(SchemaError::Refused(Refusal::Invalid { field: "replication", detail })) = refused else {
        panic!("{refused:?}");
    };
    assert!(detail.contains("`dcl`") && detail.contains("`dc1`"), "{detail}");
    define(&cluster, "n1", "users", in_datacenters(&["dc1"])).await.expect("all are there");
}

/// Of which `n3` does not know the table `users` yet, and can ask `n1` for it.
async fn without_users_on_n3() -> Cluster {
    let cluster = Cluster::of(3).await;
    cluster.cut("n1", "n3");
    cluster.cut("n2", "n3");
    define(&cluster, "n1", "users", of_factor(3)).await.expect("nothing speaks against it");
    cluster.heal("n1", "n3");
    assert!(!knows(&cluster, "n3", "users"), "nobody told it yet");
    cluster
}

/// What `n1` asks `n3`, which hears that `n1` knows other tables than it does.
fn read_of_users(cluster: &Cluster) -> (Header, Request) {
    let header = Header {
        schema_version: 4711,
        ..header(cluster.node("n1").host_id(), Some(cluster.node("n3").host_id()), TrafficClass::Request)
    };
    let table = first_id("users");
    let body =
        Request::Read { table, key: Bytes::from_static(b"k"), as_of: AsOf::default(), wants: Wants::Record };
    (header, body)
}

#[tokio::test(start_paused = true)]
async fn many_requests_about_an_unknown_table_ask_for_it_once() {
    let cluster = without_users_on_n3().await;
    let swaps = cluster.network.swaps();

    let (header, body) = read_of_users(&cluster);
    let asked =
        (0..20).map(|_| cluster.node("n3").handle(Message { header: header.clone(), body: body.clone() }));
    for answer in join_all(asked).await {
        assert_eq!(answer.body, Response::Record(None));
    }

    assert_eq!(cluster.network.swaps() - swaps, 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_with_little_time_asks_for_an_unknown_table_for_itself_alone() {
    let cluster = without_users_on_n3().await;
    cluster.pause("n1");

    let (header, body) = read_of_users(&cluster);
    let ask = |remaining| {
        let header = Header { remaining, ..header.clone() };
        cluster.node("n3").handle(Message { header, body: body.clone() })
    };
    let (hasty, patient, ()) =
        tokio::join!(ask(Duration::from_millis(400)), ask(Duration::from_secs(4)), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.resume("n1");
        });

    assert!(matches!(hasty.body, Response::Failed(_)), "{hasty:?}");
    assert_eq!(patient.body, Response::Record(None));
}

#[tokio::test(start_paused = true)]
async fn a_message_about_tables_that_nobody_knows_asks_for_them_once() {
    let cluster = Cluster::of(3).await;
    let (sender, target) = (cluster.node("n1").host_id(), cluster.node("n3").host_id());
    let header = Header { schema_version: 4711, ..header(sender, Some(target), TrafficClass::Request) };
    let as_of = AsOf::default();
    let get = |number: u32| Get {
        table: TableId(first_id("users").0 + number % 7),
        key: Bytes::from_static(b"k"),
        as_of,
        wants: Wants::Record,
    };
    let swaps = cluster.network.swaps();

    let body = Request::Multiget { gets: (0..50).map(get).collect() };
    let answer = cluster.node("n3").handle(Message { header, body }).await.body;

    let Response::Multiget { answers } = answer else { panic!("{answer:?}") };
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| matches!(answer, Err(ReplicaError::NoSuchTable(_)))), "{answers:?}");
    assert_eq!(cluster.network.swaps() - swaps, 1);
}
