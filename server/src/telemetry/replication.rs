//! The numbers of a node's requests to replicas, and as one.

use std::fmt;

use helenus_cluster::{
    message::Request,
    node::{ReplicaCounters, RequestCounters, Tombstones},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::peer::UnsentCounts;

/// Appends what it did as a replica.
pub(super) fn encode_replica(encoder: &mut DescriptorEncoder<'_>, replica: &ReplicaCounters) -> fmt::Result {
    for (name, help, took) in [
        ("replica_read_duration", "Time of a read by this replica", &replica.reads),
        ("replica_write_duration", "Time of a write by this replica, its sync included", &replica.writes),
    ] {
        encoder
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(took.sum_seconds, took.count, &took.buckets, None)?;
    }
    let Tombstones { sum, buckets } = &replica.scanned_tombstones;
    let pages = buckets.iter().map(|(_, pages)| pages).sum();
    #[expect(clippy::cast_precision_loss, reason = "bounds are small, and no monitoring counts to 2^53")]
    let number = |count: u64| if count == u64::MAX { f64::INFINITY } else { count as f64 };
    let buckets: Vec<_> = buckets.iter().map(|(bound, pages)| (number(*bound), *pages)).collect();
    let help = "Tombstones that a page of a scan by this replica had";
    encoder
        .encode_descriptor("replica_scan_tombstones", help, None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(number(*sum), pages, &buckets, None)?;
    let help = "Reads by this replica that found a tombstone";
    encoder
        .encode_descriptor("replica_tombstone_reads", help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&replica.tombstones, None)
}

/// Appends them to a page.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    counted: &RequestCounters,
    unsent: &UnsentCounts,
) -> fmt::Result {
    for (name, help, value) in [
        ("coordinator_digest_mismatches", "Reads whose replicas did not agree", counted.digest_mismatches),
        (
            "coordinator_session_widenings",
            "Reads that asked beyond their level because a session needed more",
            counted.session_widenings,
        ),
        (
            "coordinator_unheard_reads",
            "Answered reads whose late replicas were neither heard nor repaired",
            counted.dropped_background_repairs,
        ),
        (
            "coordinator_restamped_writes",
            "Writes that were stamped anew, because replicas had something newer when they came",
            counted.restamped_writes,
        ),
        (
            "replica_writes_not_forwarded",
            "Writes not sent on within the datacenter, because too many were under way",
            counted.not_forwarded,
        ),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    for (name, help, label, values) in [
        (
            "coordinator_read_repairs",
            "Replicas that reads brought up to date, before the answer or after it",
            "when",
            [("blocking", counted.blocking_repairs), ("background", counted.background_repairs)],
        ),
        (
            "coordinator_speculative_retries",
            "Late replicas that another one was asked for, or not for lack of budget",
            "result",
            [("sent", counted.speculative_retries), ("refused", counted.refused_speculative_retries)],
        ),
        (
            "coordinator_unsent_requests",
            "Requests to other nodes that expired while they waited to be sent, or that nobody waited for any more",
            "why",
            [("expired", unsent.expired), ("abandoned", unsent.abandoned)],
        ),
    ] {
        let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            counter.encode_family(&[(label, of)])?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
    }
    let help = "Requests of other nodes that were dropped, by their kind: they expired before they were begun, or while they were done";
    let mut dropped =
        encoder.encode_descriptor("replica_dropped_requests", help, None, MetricType::Counter)?;
    for (when, counts) in [("before", counted.expired_before), ("during", counted.expired_during)] {
        for (verb, count) in Request::VERBS.iter().zip(counts) {
            dropped
                .encode_family(&[("verb", *verb), ("when", when)])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}
