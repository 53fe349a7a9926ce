//! One page of a scan.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use helenus_storage::{Record, TableId};
use tokio::time::{Instant, timeout_at};

use super::segment::SegmentScan;
use crate::{
    counted::{counted, is_or_are},
    error::RequestError,
    node::{
        Failure, ScanOutcome, ScanRequest,
        clock::earlier,
        coordinator::{Coordinator, Goal, failure, known_table, trace::Trace},
        known_cluster::Picture,
    },
    partitioning::{KeyRange, Partitioner, split_storage_key},
    placement::Strategy,
    quorum::{AsOf, BlockFor, Operation, PageLimits, Reconciled},
    scan::{Pace, PageToken, Place, Segment, segments},
    table::SpeculativeRetry,
};

/// Most bytes of storage keys and values on a page, unless one record is larger.
const PAGE_BYTES: u32 = 1 << 20;

/// Most keys that are gone behind which a page ends, even if it is empty.
const PAGE_TOMBSTONES: u32 = 10_000;

/// A page has this part of its time; what is not read by then is left to the next one.
const PART_OF_TIME: u32 = 2;

/// A page that may be read.
pub(super) struct Plan {
    pub(super) goal: Goal,
    pub(super) as_of: AsOf,
    pub(super) table: TableId,
    /// Its name.
    name: String,
    pub(super) block_for: BlockFor,
    pub(super) speculative_retry: SpeculativeRetry,
    partitioner: Partitioner,
    /// The whole scan.
    range: KeyRange,
}

/// A page as far as it is read.
struct Progress {
    pace: Pace,
    /// Where to go on, as a storage key.
    from: Bytes,
    /// The same as a place, once a segment was taken.
    place: Option<Place>,
    is_over: bool,
    records: Vec<(Bytes, Record)>,
    /// The fewest replicas that answered for a segment.
    acknowledged: Option<u32>,
}

impl Coordinator {
    /// Coordinates a scan: one page.
    pub(crate) async fn scan(self: &Arc<Self>, request: ScanRequest) -> Result<ScanOutcome, Failure> {
        let trace = self.trace("scan", &request.table, &request.options);
        match self.page(&request, &trace).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(failure(error, &trace)),
        }
    }

    async fn page(
        self: &Arc<Self>,
        request: &ScanRequest,
        trace: &Trace,
    ) -> Result<ScanOutcome, RequestError> {
        let (_permit, patience) = self.begin(&request.table, &request.options, self.scan_timeout).await?;
        let _turn = timeout_at(patience.deadline, self.scans.acquire())
            .await
            .map_err(|_| RequestError::Overloaded("too many scans are under way"))?;
        let picture = self.cluster.picture();
        let table = known_table(&picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_read_consistency, patience);
        let now = self.clock.trusted_now();
        let partitioner = self.replica.identity.partitioner();
        let plan = Arc::new(Plan {
            goal,
            as_of: AsOf { now, forgotten_before: earlier(now, table.definition.tombstone_grace()) },
            table: table.id(),
            name: table.name.clone(),
            block_for: self.block_for(Operation::Read, goal.level, table, &picture)?,
            speculative_retry: table.definition.speculative_retry,
            partitioner,
            range: request.bounds.range(partitioner)?,
        });
        let token = plan.token(&picture);
        let from = match &request.page {
            Some(page) => token.decode(page.clone())?.from(partitioner),
            None => plan.range.from.clone(),
        };
        let limits =
            PageLimits { items: request.limit.max(1), bytes: PAGE_BYTES, tombstones: PAGE_TOMBSTONES };
        let mut progress = Progress::new(limits, from);
        while progress.goes_on(&plan) {
            if let Err(error) = self.round(&plan, &mut progress, trace).await {
                return Err(self.explained(error, plan.table, &picture, goal.deadline).await);
            }
        }
        let required = plan.block_for.required();
        Ok(ScanOutcome {
            next: progress.place.map(|place| token.encode(&place)),
            records: progress.records,
            now,
            met: goal.met(required, progress.acknowledged.unwrap_or(required), trace),
        })
    }

    /// Reads the next segments, and takes what follows on the page without a gap.
    async fn round(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        progress: &mut Progress,
        trace: &Trace,
    ) -> Result<(), RequestError> {
        // The ring of this moment: what is read by it are keys, wherever they have moved meanwhile.
        let picture = self.cluster.picture();
        let table = picture.view().tables().by_id(plan.table);
        let table = table.ok_or_else(|| RequestError::TableDropped(plan.name.clone()))?;
        let strategy = Strategy::from(&table.definition.replication);
        let rest = KeyRange { from: progress.from.clone(), until: plan.range.until.clone() };
        let ahead: Vec<Segment> =
            segments(picture.ring(), strategy, rest).take(progress.pace.at_once()).collect();
        if ahead.is_empty() {
            progress.end_of_scan();
            return Ok(());
        }
        let limits = progress.pace.share();
        let scan = |segment: &Segment| {
            SegmentScan::new(self, plan, &picture, segment.clone(), limits, trace.clone()).read()
        };
        let mut reads: FuturesOrdered<_> = ahead.iter().map(scan).collect();
        for segment in &ahead {
            let Some(read) = reads.next().await else { break };
            let (mut read, acknowledged) = match read {
                // The next page begins with it.
                Err(error) if progress.is_begun() => {
                    helenus_storage::sometimes!("a page of a scan ended before a failure");
                    trace.note(|| format!("the page ends early: {error}"));
                    progress.is_over = true;
                    return Ok(());
                }
                read => read?,
            };
            trace.note(|| describe(segment, &read, acknowledged));
            if !progress.pace.take(&mut read) {
                progress.is_over = true;
                return Ok(());
            }
            let is_cut = read.cut.is_some();
            progress.take(segment, plan, read, acknowledged);
            if is_cut || progress.pace.is_full() {
                break;
            }
        }
        progress.pace.on_round();
        Ok(())
    }
}

impl Plan {
    fn token(&self, picture: &Picture) -> PageToken<'_> {
        PageToken {
            cluster: picture.view().cluster_id(),
            table: self.table,
            partitioner: self.partitioner,
            range: &self.range,
        }
    }
}

impl Progress {
    fn new(limits: PageLimits, from: Bytes) -> Self {
        Self {
            pace: Pace::new(limits),
            from,
            place: None,
            is_over: false,
            records: Vec::new(),
            acknowledged: None,
        }
    }

    /// Whether there is room and time for more.
    fn goes_on(&self, plan: &Plan) -> bool {
        let left = || plan.goal.deadline.saturating_duration_since(Instant::now());
        let is_late = || left() <= plan.goal.timeout / PART_OF_TIME;
        !(self.is_over || self.pace.is_full() || self.is_begun() && is_late())
    }

    /// Whether a page that ended here would be further than where it began.
    fn is_begun(&self) -> bool {
        self.place.is_some()
    }

    fn take(&mut self, segment: &Segment, plan: &Plan, read: Reconciled, acknowledged: u32) {
        let fewest = self.acknowledged.map_or(acknowledged, |fewest| fewest.min(acknowledged));
        self.acknowledged = Some(fewest);
        self.records.extend(read.live.into_iter().map(|(key, record)| (client_key(&key), record)));
        match (read.cut, &segment.range.until) {
            (Some(last), _) => self.go_on(Place::Behind(client_key(&last)), plan),
            (None, Some(until)) if segment.range.until != plan.range.until => {
                let next = KeyRange { from: until.clone(), until: None };
                self.go_on(Place::At(next.first_token()), plan);
            }
            (None, _) => self.end_of_scan(),
        }
    }

    fn go_on(&mut self, place: Place, plan: &Plan) {
        self.from = place.from(plan.partitioner);
        self.place = Some(place);
    }

    fn end_of_scan(&mut self) {
        self.is_over = true;
        self.place = None;
    }
}

fn client_key(storage_key: &Bytes) -> Bytes {
    split_storage_key(storage_key).expect("a page of something else than storage keys is refused").key
}

/// A segment in the words of a trace.
fn describe(segment: &Segment, read: &Reconciled, acknowledged: u32) -> String {
    let names: Vec<String> = segment.replicas.iter().map(ToString::to_string).collect();
    format!(
        "from token {} on: replicas [{}], {acknowledged} answered, {} live and {} {} gone",
        segment.range.first_token(),
        names.join(", "),
        counted(read.live.len(), "key"),
        read.tombstones,
        is_or_are(read.tombstones)
    )
}
