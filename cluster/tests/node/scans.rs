//! Scans go through the ring in order, repair what they find behind, and get somewhere whoever is down further on.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{self, All, One, Quorum},
    error::RequestError,
    node::{Failure, ScanOutcome, ScanRequest},
    scan::{Bounds, BoundsError, PageTokenError},
    table::{DEFAULT_TABLE, Definition, Replication},
};
use tokio::time::Instant;

use crate::support::{Cluster, at};

fn request(limit: u32, level: Consistency, page: Option<Bytes>) -> ScanRequest {
    let table = DEFAULT_TABLE.to_owned();
    ScanRequest { table, page, limit, options: at(level), ..ScanRequest::default() }
}

fn names(page: &ScanOutcome) -> Vec<String> {
    page.records.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
}

/// All pages, each through the next node of these.
async fn pages(cluster: &Cluster, through: &[&str], limit: u32, level: Consistency) -> Vec<ScanOutcome> {
    let mut pages: Vec<ScanOutcome> = Vec::new();
    loop {
        let node = through[pages.len() % through.len()];
        let token = pages.last().and_then(|page| page.next.clone());
        if token.is_none() && !pages.is_empty() {
            return pages;
        }
        let page = cluster.node(node).scan(request(limit, level, token)).await;
        pages.push(page.unwrap_or_else(|failure| panic!("{node}: {failure:?}")));
    }
}

/// Keys, as a test counts them.
async fn fill(cluster: &Cluster, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..count).map(|number| format!("key/{number}")).collect();
    for key in &keys {
        cluster.put("n1", key, "value", All).await.expect("all are alive");
    }
    keys
}

fn found(pages: &[ScanOutcome]) -> Vec<String> {
    pages.iter().flat_map(names).collect()
}

#[tokio::test(start_paused = true)]
async fn every_key_is_found_once_whatever_the_size_of_a_page() {
    // With five nodes and a factor of three nearly each virtual node has replicas of its own.
    let cluster = Cluster::of(5).await;
    let keys = fill(&cluster, 90).await;
    for limit in [1, 7, 100, 1000] {
        let pages = pages(&cluster, &["n1", "n2", "n3", "n4", "n5"], limit, Quorum).await;
        let found = found(&pages);
        assert!(pages.iter().all(|page| page.records.len() <= limit as usize));
        assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (90, keys.clone()), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_is_repaired_before_the_page_is_answered() {
    let mut cluster = Cluster::of(3).await;
    fill(&cluster, 20).await;
    cluster.kill("n3").await;
    cluster.until("its death is known", |c| c.sees_down("n1", "n3") && c.sees_down("n2", "n3")).await;
    cluster.put("n1", "key/7", "new", Quorum).await.expect("two of three are alive");
    cluster.delete("n1", "key/8", Quorum).await.expect("two of three are alive");
    cluster.start("n3").await;
    cluster.until("it is back", |c| c.agrees_on(3)).await;
    assert_eq!(cluster.get("n3", "key/7", One).await, Ok(Some("value".to_owned())), "it missed the write");

    let pages = pages(&cluster, &["n1"], 6, All).await;

    assert!(!found(&pages).contains(&"key/8".to_owned()) && found(&pages).len() == 19);
    assert_eq!(cluster.get("n3", "key/7", One).await, Ok(Some("new".to_owned())));
    assert_eq!(cluster.get("n3", "key/8", One).await, Ok(None));
    assert_eq!(cluster.node("n1").counters().requests.blocking_repairs, 2, "in two pages");
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_are_told_before_anything_is_sent() {
    let mut cluster = Cluster::of(3).await;
    fill(&cluster, 3).await;
    cluster.kill("n2").await;
    cluster.kill("n3").await;
    cluster.until("their death is known", |c| c.sees_down("n1", "n2") && c.sees_down("n1", "n3")).await;

    let refused = cluster.node("n1").scan(request(10, Quorum, None)).await;

    let Err(Failure { error: RequestError::Unavailable { required: 2, alive: 1, .. }, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(pages(&cluster, &["n1"], 10, One).await[0].records.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_before_a_range_that_cannot_be_read_and_the_next_one_says_why() {
    let mut cluster = Cluster::of(4).await;
    let definition = Definition::replicated(Replication::Simple { factor: 1 });
    let deadline = Instant::now() + Duration::from_secs(5);
    cluster.node("n1").define_table("single", definition, deadline).await.expect("all are alive");
    cluster.kill("n3").await;
    cluster.until("its death is known", |c| c.sees_down("n1", "n3")).await;
    let ask = |page| ScanRequest { table: "single".to_owned(), ..request(1000, One, page) };

    let mut page = None;
    let mut progress = 0;
    let error = loop {
        match cluster.node("n1").scan(ask(page)).await {
            Ok(ScanOutcome { next: Some(next), records, .. }) => {
                assert!(records.is_empty(), "there is nothing");
                progress += 1;
                page = Some(next);
            }
            Ok(whole) => panic!("a part has no replica that lives: {whole:?}"),
            Err(Failure { error, .. }) => break error,
        }
    };

    assert!(matches!(error, RequestError::Unavailable { required: 1, alive: 0, .. }), "{error:?}");
    assert!(progress <= 1, "it ends with the first such range");
}

#[tokio::test(start_paused = true)]
async fn bounds_and_tokens_that_do_not_fit_are_refused() {
    let cluster = Cluster::of(3).await;
    let node = cluster.node("n1");
    fill(&cluster, 3).await;
    let refusal = async |request| node.scan(request).await.map_err(|failure| failure.error);

    let bounds = Bounds { prefix: Some("key".into()), ..Bounds::default() };
    let prefixed = ScanRequest { bounds, ..request(1, One, None) };
    assert_eq!(refusal(prefixed).await, Err(RequestError::InvalidBounds(BoundsError { field: "prefix" })));
    let made_up = request(1, One, Some("made up".into()));
    assert_eq!(refusal(made_up).await, Err(RequestError::InvalidPage(PageTokenError::Damaged)));
    let first = refusal(request(1, One, None)).await.expect("all are alive");
    let definition = Definition::replicated(Replication::Simple { factor: 1 });
    let deadline = Instant::now() + Duration::from_secs(5);
    node.define_table("other", definition, deadline).await.expect("all are alive");
    let elsewhere = ScanRequest { table: "other".to_owned(), ..request(1, One, first.next) };
    assert_eq!(refusal(elsewhere).await, Err(RequestError::InvalidPage(PageTokenError::Table)));
    let unknown = ScanRequest { table: "unknown".to_owned(), ..request(1, One, None) };
    assert_eq!(refusal(unknown).await, Err(RequestError::NoSuchTable("unknown".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_says_nothing_is_not_waited_for_to_the_deadline() {
    let cluster = Cluster::of(3).await;
    let keys = fill(&cluster, 10).await;
    cluster.pause("n2");

    let begun = Instant::now();
    let pages = pages(&cluster, &["n1"], 1000, Quorum).await;

    assert_eq!(found(&pages).into_iter().collect::<BTreeSet<_>>(), keys);
    assert!(begun.elapsed() < Duration::from_secs(4), "a quarter of ten seconds: {:?}", begun.elapsed());
}
