//! Whom a read asks first.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    node::{known_cluster::Picture, randomness::Stream},
    node_id::HostId,
    snitch::{DynamicSnitch, Settings, proximity::distance},
};

/// The snitches of one node, from near to far and from fast to slow.
#[derive(Debug)]
pub(super) struct Nearest {
    nearest_first: bool,
    dynamic: Option<Mutex<Dynamic>>,
}

#[derive(Debug)]
struct Dynamic {
    snitch: DynamicSnitch,
    random: Stream,
}

impl Nearest {
    pub(super) fn new(settings: &Settings, random: Stream) -> Self {
        let now = Instant::now().into_std();
        let snitch = settings.dynamic.clone().map(|settings| DynamicSnitch::new(settings, now));
        Self {
            nearest_first: settings.nearest_first,
            dynamic: snitch.map(|snitch| Mutex::new(Dynamic { snitch, random })),
        }
    }

    /// The order in which to ask replicas, given in ring order.
    pub(super) fn order(&self, picture: &Picture, mut replicas: Vec<HostId>) -> Vec<HostId> {
        let view = picture.view();
        if self.nearest_first {
            replicas.sort_by_key(|host_id| view.member(*host_id).map(|member| distance(view.own(), member)));
        }
        match &self.dynamic {
            Some(dynamic) => dynamic.lock().snitch.order(replicas, Instant::now().into_std()),
            None => replicas,
        }
    }

    /// Begins to measure how long a replica takes.
    pub(super) fn stopwatch(self: &Arc<Self>, host_id: HostId) -> Stopwatch {
        Stopwatch {
            nearest: Arc::clone(self),
            host_id,
            began: Instant::now(),
            is_answered: false,
            counts: true,
        }
    }

    /// A replica had not answered after that long, which is too long.
    pub(super) fn late(&self, host_id: HostId, latency: Duration) {
        if let Some(dynamic) = &self.dynamic {
            let Dynamic { snitch, random } = &mut *dynamic.lock();
            snitch.late(host_id, latency, Instant::now().into_std(), random);
        }
    }

    /// A replica took that long to answer; if it is not `is_answered`, longer.
    fn record(&self, host_id: HostId, latency: Duration, is_answered: bool) {
        let Some(dynamic) = &self.dynamic else { return };
        let Dynamic { snitch, random } = &mut *dynamic.lock();
        let now = Instant::now().into_std();
        if is_answered {
            snitch.answered(host_id, latency, now, random);
        } else {
            snitch.record(host_id, latency, now, random);
        }
    }
}

/// A call under way. When it is dropped, its time counts as a latency: of an answer, or of one that had not come when
/// nobody waited for it any more, which is then at least that late.
pub(super) struct Stopwatch {
    nearest: Arc<Nearest>,
    host_id: HostId,
    began: Instant,
    is_answered: bool,
    counts: bool,
}

impl Stopwatch {
    /// The answer is there.
    pub(super) fn stop(mut self) {
        self.is_answered = true;
    }

    /// The call failed at once: that says nothing of how long an answer takes.
    pub(super) fn discard(mut self) {
        self.counts = false;
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        if self.counts {
            self.nearest.record(self.host_id, self.began.elapsed(), self.is_answered);
        }
    }
}
