//! A client that sends its session back never reads older than it wrote or read, through whomever, at level one.

use std::{sync::Arc, time::Duration};

use helenus_cluster::{
    consistency::Consistency::{self, All, One, Quorum},
    error::RequestError,
    node::{Change, Failure, ReadOutcome, Readiness, WriteOutcome, WriteRequest},
    node_id::ClusterId,
    session::{Held, Observed, Session, Version},
    time::{Timestamp, WallClock as _},
};
use helenus_storage::Record;
use uuid::Uuid;

use crate::support::{Cluster, put, read, value_of, write, write_at};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A client with a session.
#[derive(Default)]
struct Client(Session);

impl Client {
    async fn put(&mut self, cluster: &Cluster, through: &str, key: &str, value: &str) -> WriteOutcome {
        self.write(cluster, through, write(key, put(value), One)).await
    }

    async fn write(&mut self, cluster: &Cluster, through: &str, mut request: WriteRequest) -> WriteOutcome {
        request.options.session = self.carried();
        let outcome = cluster.node(through).write(request).await.expect("one replica is alive");
        self.0.note(&outcome.observed.expect("a write is always something"));
        outcome
    }

    async fn get(
        &mut self,
        cluster: &Cluster,
        through: &str,
        key: &str,
        level: Consistency,
    ) -> Result<Option<String>, RequestError> {
        let mut request = read(key, level);
        request.options.session = self.carried();
        let outcome: Result<ReadOutcome, Failure> = cluster.node(through).read(request).await;
        let outcome = outcome.map_err(|failure| failure.error)?;
        outcome.observed.iter().for_each(|observed| self.0.note(observed));
        Ok(value_of(&outcome))
    }

    /// Fills it with newer keys until all that it listed has folded, and nothing else.
    fn fold(&mut self) {
        let cluster = self.0.cluster().expect("it has done something");
        let version = Version::of(&Record::plain(Timestamp(self.0.clock().0 + 1), ""));
        for key in 0..128 {
            self.0.note(&Observed { cluster, key, version, held: Held::at(All, ""), is_newest: true });
        }
    }

    fn carried(&mut self) -> Option<Arc<Session>> {
        Some(Arc::new(Session::from_token(&self.0.to_token()).expect("it was given out")))
    }
}

/// A session whose last write `behind` has missed, and everybody is up again but no hint is delivered yet.
async fn one_has_missed_it(behind: &str) -> (Cluster, Client) {
    let (old, new) = (write("key", put("old"), All), write("key", put("new"), One));
    one_has_missed(behind, old, new).await
}

/// Likewise, of these writes.
async fn one_has_missed(behind: &str, old: WriteRequest, new: WriteRequest) -> (Cluster, Client) {
    let mut cluster = Cluster::of(3).await;
    cluster.write("n1", old).await.expect("all are alive");
    cluster.kill(behind).await;
    let others: Vec<&str> = NODES.into_iter().filter(|other| *other != behind).collect();
    cluster.until("its death is known", |c| others.iter().all(|other| c.sees_down(other, behind))).await;
    let mut client = Client::default();
    client.write(&cluster, others[0], new).await;
    cluster.start(behind).await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn its_own_write_is_read_where_it_was_missed() {
    for is_folded in [false, true] {
        for behind in NODES {
            let (cluster, mut client) = one_has_missed_it(behind).await;
            if is_folded {
                client.fold();
            }
            for through in NODES {
                let seen = client.get(&cluster, through, "key", One).await;
                assert_eq!(seen, Ok(Some("new".to_owned())), "through {through}, folded: {is_folded}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_read_at_a_quorum_it_reads_at_one() {
    for is_folded in [false, true] {
        let (cluster, _) = one_has_missed_it("n3").await;
        let mut other = Client::default();
        assert_eq!(other.get(&cluster, "n1", "key", Quorum).await, Ok(Some("new".to_owned())));
        if is_folded {
            other.fold();
        }
        assert_eq!(other.get(&cluster, "n3", "key", One).await, Ok(Some("new".to_owned())));
    }
}

/// At one timestamp larger values win over smaller ones, and deletions over both.
#[tokio::test(start_paused = true)]
async fn of_two_versions_with_one_timestamp_it_reads_the_one_that_wins() {
    let at = Timestamp(1_000_000);
    for (is_folded, has_written) in [(false, false), (false, true), (true, false), (true, true)] {
        for (new, wins) in [(put("9"), Some("9".to_owned())), (Change::Delete, None)] {
            let (old, new) = (write_at("key", put("5"), All, at), write_at("key", new, Quorum, at));
            let (cluster, mut client) = one_has_missed("n3", old, new).await;
            if !has_written {
                client = Client::default();
                assert_eq!(client.get(&cluster, "n1", "key", Quorum).await, Ok(wins.clone()));
            }
            if is_folded {
                client.fold();
            }
            assert_eq!(cluster.get("n3", "key", One).await, Ok(Some("5".to_owned())), "it is behind");

            let seen = client.get(&cluster, "n3", "key", One).await;

            assert_eq!(seen, Ok(wins), "folded: {is_folded}, written: {has_written}");
        }
    }
}

/// Of two values with one timestamp that a session has written it is not known which wins: until it has read that.
#[tokio::test(start_paused = true)]
async fn a_write_that_loses_at_its_timestamp_does_not_hide_what_it_loses_to() {
    let at = Timestamp(1_000_000);
    let value = |value, level| write_at("key", put(value), level, at);
    let (cluster, mut client) = one_has_missed("n3", value("1", All), value("9", Quorum)).await;
    client.write(&cluster, "n3", value("5", One)).await;

    for through in ["n3", "n2", "n1", "n3"] {
        assert_eq!(client.get(&cluster, through, "key", One).await, Ok(Some("9".to_owned())), "{through}");
    }
}

/// As the reads of a batch are that came without a session.
#[tokio::test(start_paused = true)]
async fn what_is_read_without_the_session_does_not_hide_what_it_wrote() {
    let at = Timestamp(1_000_000);
    let (old, new) = (write_at("key", put("5"), All, at), write_at("key", put("9"), Quorum, at));
    let (cluster, mut client) = one_has_missed("n3", old, new).await;
    let unaware = cluster.read("n3", "key", One).await.expect("it is alive");
    assert_eq!(value_of(&unaware), Some("5".to_owned()));
    client.0.note(&unaware.observed.expect("it is something"));

    assert_eq!(client.get(&cluster, "n3", "key", One).await, Ok(Some("9".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_has_expired_is_asked_of_no_more_replicas_than_before() {
    let mut cluster = Cluster::of(3).await;
    let value = Change::Put { value: "value".into(), ttl: Some(Duration::from_secs(10)) };
    let mut writer = Client::default();
    writer.write(&cluster, "n1", write("key", value, All)).await;
    let mut reader = Client::default();
    assert_eq!(reader.get(&cluster, "n2", "key", One).await, Ok(Some("value".to_owned())));
    cluster.kill("n1").await;
    cluster.kill("n2").await;
    tokio::time::sleep(Duration::from_secs(11)).await;

    for client in [&mut writer, &mut reader] {
        for _ in 0..2 {
            assert_eq!(client.get(&cluster, "n3", "key", One).await, Ok(None));
        }
    }
    assert_eq!(cluster.node("n3").counters().requests.session_widenings, 0);
}

#[tokio::test(start_paused = true)]
async fn where_no_live_replica_has_it_the_session_is_unavailable_and_others_are_answered() {
    for is_folded in [false, true] {
        let mut cluster = Cluster::of(3).await;
        cluster.put("n1", "key", "old", All).await.expect("all are alive");
        cluster.kill("n3").await;
        cluster.until("its death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
        let mut client = Client::default();
        client.put(&cluster, "n1", "key", "new").await;
        cluster.cut("n1", "n3");
        cluster.cut("n2", "n3");
        cluster.start("n3").await;
        cluster
            .until("it serves alone", |c| {
                let is_alone = c.sees_down("n3", "n1") && c.sees_down("n3", "n2");
                is_alone && c.node("n3").readiness() == Readiness::Ready
            })
            .await;
        if is_folded {
            client.fold();
        }

        let refused = client.get(&cluster, "n3", "key", One).await;
        let served = cluster.get("n3", "key", One).await;

        assert_eq!(
            refused,
            Err(RequestError::SessionUnavailable { level: One, required: 1, heard: 1, replicas: 3 })
        );
        assert_eq!(served, Ok(Some("old".to_owned())), "who has no session reads what is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_holds_a_session_up_only_until_the_deadline() {
    let (cluster, mut client) = one_has_missed_it("n3").await;
    cluster.cut("n3", "n1");
    cluster.pause("n2");

    let mut request = read("key", One);
    request.options.session = client.carried();
    request.options.timeout = Some(Duration::from_millis(300));
    let refused = cluster.node("n3").read(request).await.expect_err("nobody who has it answers");

    assert!(
        matches!(refused.error, RequestError::SessionUnavailable { heard: 1, .. }),
        "{:?}",
        refused.error
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_is_stamped_above_the_session_wherever_clocks_have_jumped() {
    let cluster = Cluster::of(3).await;
    let mut client = Client::default();
    cluster.machines["n1"].clock.run_ahead_by(Duration::from_secs(50));
    let first = client.put(&cluster, "n1", "key", "first").await;
    cluster.machines["n1"].clock.run_behind_by(Duration::ZERO);
    cluster.cut("n1", "n2");
    cluster.machines["n2"].clock.run_behind_by(Duration::from_secs(5));

    let second = client.put(&cluster, "n2", "key", "second").await;

    assert!(second.timestamp > first.timestamp, "{second:?} after {first:?}");
    let ahead = Timestamp(cluster.machines["n3"].clock.now().0 + 61_000_000);
    client.0.follow(ahead);
    let mut request = write("key", put("third"), One);
    request.options.session = client.carried();
    let refused = cluster.node("n3").write(request).await.expect_err("beyond the drift");
    assert!(matches!(refused.error, RequestError::SessionAhead { clock, .. } if clock == ahead));
    assert_eq!(
        client.get(&cluster, "n3", "key", One).await,
        Ok(Some("second".to_owned())),
        "reads ask no clock"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_cluster_says_nothing_here() {
    let cluster = Cluster::of(3).await;
    let mut client = Client::default();
    let held = Held::at(One, "");
    let elsewhere = ClusterId(Uuid::from_u128(1));
    let version = Version::of(&Record::plain(Timestamp(1), ""));
    client.0.note(&Observed { cluster: elsewhere, key: 1, version, held, is_newest: false });

    assert_eq!(client.get(&cluster, "n1", "key", One).await, Err(RequestError::ForeignSession));
    let mut request = write("key", put("value"), One);
    request.options.session = client.carried();
    let refused = cluster.node("n1").write(request).await.expect_err("of another cluster");
    assert_eq!(refused.error, RequestError::ForeignSession);
    assert_eq!(cluster.get("n1", "key", All).await, Ok(None), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_and_an_absence_are_read_as_any_version_is() {
    let (cluster, mut client) = one_has_missed_it("n3").await;
    assert_eq!(client.get(&cluster, "n1", "never", One).await, Ok(None));
    cluster.cut("n1", "n3");
    cluster.delete("n1", "key", One).await.expect("one is alive");
    assert_eq!(client.get(&cluster, "n1", "key", One).await, Ok(None));
    cluster.heal("n1", "n3");
    cluster.until("all see each other", |c| c.agrees_on(3)).await;

    assert_eq!(client.get(&cluster, "n3", "key", One).await, Ok(None), "it saw the deletion");
    assert_eq!(client.get(&cluster, "n3", "never", One).await, Ok(None));
}
