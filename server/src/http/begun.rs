//! Requests of clients that have begun: a node that is drained lets no more begin, and serves these to their end.
//!
//! A request begins with its head. Its body may still be on its way, for longer than the node would wait otherwise.

use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Coordinate;
use crate::admission::Pass;

/// A request that has begun, and ends when this is dropped.
pub(super) struct Begun<'a> {
    /// Who carries it out.
    pub(super) node: &'a dyn Coordinate,
    /// Since when its time runs: from its head on, and from its body on once that is there.
    pub(super) since: Instant,
    /// What a drain waits for.
    _place: TaskTrackerToken,
    /// What others wait for while the node is busy, if the request costs it time.
    _pass: Option<Pass>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(node: &'a dyn Coordinate, place: TaskTrackerToken) -> Self {
        Self { node, since: Instant::now(), _place: place, _pass: None }
    }

    pub(super) fn with(self, pass: Pass, since: Instant) -> Self {
        Self { _pass: Some(pass), since, ..self }
    }
}
