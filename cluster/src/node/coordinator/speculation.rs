//! How long the reads of this node wait before they ask one replica more, and what they may spend on it.

use std::{collections::BTreeMap, time::Duration};

use helenus_storage::TableId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    quorum::speculation::{Budget, RecentLatencies},
    table::SpeculativeRetry,
};

/// Tables whose latencies are remembered at once.
const MOST_TABLES: usize = 1024;
/// A read that may wait longer than this part of its time would have none left for the other replica.
const PART_OF_TIMEOUT: u32 = 4;
/// And this part one waits of which it is not known how long such reads take.
const PART_IF_UNKNOWN: u32 = 40;

/// What all reads of a node share.
#[derive(Debug, Default)]
pub(super) struct Speculation {
    budget: Mutex<Budget>,
    latencies: Mutex<BTreeMap<TableId, RecentLatencies>>,
}

impl Speculation {
    /// A read of the table begins: how long it is to wait; `None` for ever.
    pub(super) fn begin(
        &self,
        table: TableId,
        retry: SpeculativeRetry,
        timeout: Duration,
    ) -> Option<Duration> {
        self.budget.lock().deposit();
        match retry {
            SpeculativeRetry::None | SpeculativeRetry::Always => None,
            SpeculativeRetry::After { .. } => retry.fixed(),
            SpeculativeRetry::Percentile { permille } => {
                let mut latencies = self.latencies.lock();
                let of_table = latencies.get_mut(&table);
                let recent = of_table.and_then(|recent| recent.percentile(permille, now()));
                Some(recent.map_or(timeout / PART_IF_UNKNOWN, |recent| recent.min(timeout / PART_OF_TIMEOUT)))
            }
        }
    }

    /// A read took that long until its replicas had answered.
    pub(super) fn record(&self, table: TableId, latency: Duration) {
        let mut latencies = self.latencies.lock();
        if latencies.len() >= MOST_TABLES && !latencies.contains_key(&table) {
            // They are learned again within seconds.
            latencies.clear();
        }
        let now = now();
        latencies.entry(table).or_insert_with(|| RecentLatencies::new(now)).record(latency, now);
    }

    /// Whether one more request may be made now; it is paid for.
    pub(super) fn pay(&self) -> bool {
        self.budget.lock().withdraw()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
