//! Every bound of the peer protocol, by name.

use std::{collections::BTreeMap, time::Duration};

use helenus_cluster::node_id::HostId;
use tokio::sync::Semaphore;

/// How a node talks to the others, on both ends of a connection.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// Longest wait for name resolution and connection.
    pub connect_timeout: Duration,
    /// Longest wait for the first words of the other side.
    pub handshake_timeout: Duration,
    /// After this long without a sign of life from the other *machine* a connection with unacknowledged bytes, or
    /// an idle one, is given up (TCP keepalive and user timeout). Whole seconds.
    pub silence_timeout: Duration,
    /// A connection that carried no call for so long is closed.
    pub idle_timeout: Duration,
    /// Longest body of a frame, in either direction; must be above the longest value by some KiB.
    pub max_frame_bytes: usize,

    /// Bytes of requests that may wait to be sent, per connection; the size of a request is estimated.
    pub queue_bytes: usize,
    /// Requests that may wait to be sent, per connection.
    pub queue_requests: usize,
    /// Requests that may be sent and unanswered, per connection.
    pub in_flight_requests: usize,
    /// Connections to other nodes, those that are being tried included.
    pub max_outbound: usize,
    /// First pause after a failed connection; doubled with each further failure.
    pub backoff_min: Duration,
    /// Longest pause. Also how late a restarted node may be noticed, so keep it small.
    pub backoff_max: Duration,
    /// Seed of the jitter of those pauses.
    pub jitter_seed: u64,
    /// Where to reach a node instead of its own address, `host:port`: a proxy may sit on one directed link.
    pub route: BTreeMap<HostId, String>,

    /// Connections from other nodes; further ones are closed at once.
    pub max_inbound: usize,
    /// Requests that are answered at once, per connection; beyond, it is not read any further.
    pub concurrent_requests: usize,
    /// Bytes of such requests, per connection.
    pub concurrent_bytes: usize,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            silence_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            max_frame_bytes: 8 << 20,
            queue_bytes: 32 << 20,
            queue_requests: 8192,
            in_flight_requests: 8192,
            max_outbound: 2048,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            jitter_seed: 0,
            route: BTreeMap::new(),
            max_inbound: 2048,
            concurrent_requests: 1024,
            concurrent_bytes: 64 << 20,
        }
    }
}

impl PeerSettings {
    /// The same, with what is out of all reason brought back: timers take no time beyond their range, semaphores no
    /// count beyond theirs.
    pub(super) fn within_reason(mut self) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        for time in [
            &mut self.connect_timeout,
            &mut self.handshake_timeout,
            &mut self.silence_timeout,
            &mut self.idle_timeout,
            &mut self.backoff_min,
            &mut self.backoff_max,
        ] {
            *time = (*time).clamp(Duration::from_millis(1), YEAR);
        }
        self.max_inbound = self.max_inbound.min(Semaphore::MAX_PERMITS);
        self.concurrent_requests = self.concurrent_requests.clamp(1, Semaphore::MAX_PERMITS);
        self.concurrent_bytes = self.concurrent_bytes.clamp(1, u32::MAX as usize / 2);
        self
    }
}
