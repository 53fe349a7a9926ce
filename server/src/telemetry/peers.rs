//! What the listener for other nodes has seen, read when someone asks.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::peer::ListenerCounts;

/// Collects the counts of a listener.
pub(super) struct Peers(pub(super) Box<dyn Fn() -> ListenerCounts + Send + Sync>);

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

impl Collector for Peers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = (self.0)();
        let counters = [
            ("peer_accepted", "Connections of other nodes that passed the handshake", now.accepted),
            (
                "peer_refused",
                "Connections refused for another cluster name, cluster id, partitioner or version",
                now.refused,
            ),
            ("peer_strangers", "Connections to the peer listener without a proper greeting", now.strangers),
            ("peer_over_limit", "Connections of other nodes closed because of too many", now.over_limit),
            ("peer_damaged", "Connections of other nodes closed because of damaged frames", now.damaged),
            ("peer_requests", "Requests of other nodes", now.requests),
        ];
        for (name, help, value) in counters {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}
