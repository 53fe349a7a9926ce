//! Writes that a record from ahead of the clock wins over.
//!
//! A coordinator stamps a write above all that it has heard of. It need not have heard of a record that a client, or a
//! coordinator whose clock is ahead, has stamped later than this node's clock shows: a write that was begun after that
//! record was acknowledged would be acknowledged as well, and never be seen. Where the two levels overlap, one of the
//! replicas that acknowledge the write holds the record, and says so ([`crate::message::Receipt`]); then the write is made
//! once more, stamped above it.
//!
//! Once is enough: whatever was acknowledged before the write began, the replicas held when they acknowledged it. What
//! came since is concurrent. So is, most likely, a record that wins and is not from ahead of the clock: it was stamped
//! after the write and came before it. Such a write has taken effect, and was overwritten.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Coordinator, put::Outcome};
use crate::{
    error::RequestError,
    node::{Failure, WriteOutcome, WriteRequest},
};

impl Coordinator {
    /// What came of a write in the end, whose request began at `since`; `outcome` is what came of it so far.
    pub(super) async fn above_what_it_met(
        self: &Arc<Self>,
        outcome: Outcome,
        request: &WriteRequest,
        since: Instant,
    ) -> Outcome {
        let (newer, first) = match outcome {
            Ok(WriteOutcome { outrun_by: Some(newer), timestamp, met, .. })
                if request.timestamp.is_none() && newer > self.clock.now() =>
            {
                (newer, (timestamp, met))
            }
            outcome => return outcome,
        };
        helenus_storage::sometimes!("a write met a record from ahead of the clock");
        self.counters.restamped_writes.add(1);
        let why = if newer < self.clock.latest_accepted() {
            self.clock.observe(newer);
            let mut again = request.clone();
            again.options.since = Some(since);
            match self.write_once(again).await {
                Err(Failure { error, .. }) if error.was_not_sent() => error.to_string(),
                outcome => return outcome,
            }
        } else {
            helenus_storage::sometimes!("a write could not be stamped above what it met");
            "that would be beyond the clock plus the allowed drift".to_owned()
        };
        let (timestamp, met) = first;
        let (level, required, received) = (met.level, met.required, met.acknowledged);
        let error = RequestError::Outrun { level, required, received, newer, why };
        Err(Failure { error, trace: met.trace, stamped: Some(timestamp) })
    }
}
