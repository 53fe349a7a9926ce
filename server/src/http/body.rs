//! Reading request bodies: never more than allowed, never more at once than the node can hold, never for ever.
//!
//! Memory is set aside as a body arrives, not as it is announced: otherwise clients that announce much and send little
//! would keep all others out for minutes, at no cost. Beyond a first small piece, a client has sent at least half of what
//! it holds.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::{Access, Kind, Problem};

/// What a body gets before its first byte. More connections than the default allows have room in the default budget.
const FIRST_PIECE: usize = 4 << 10;

/// Bounds of bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    max_bytes: usize,
    stall: Duration,
    min_bytes_per_second: u32,
    /// One permit per byte in flight.
    budget: Arc<Semaphore>,
}

/// Memory that is set aside for one body.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Held {
    pub(crate) fn bytes(&self) -> usize {
        self.0.num_permits()
    }
}

impl Bodies {
    pub(crate) fn new(limits: &super::Limits) -> Self {
        Self {
            max_bytes: limits.max_value_bytes,
            stall: limits.body_stall_timeout,
            min_bytes_per_second: limits.body_min_bytes_per_second.max(1),
            budget: Arc::new(Semaphore::new(limits.body_bytes_in_flight.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The same bounds, and the same memory, for bodies of another length.
    pub(crate) fn of_at_most(&self, max_bytes: usize) -> Self {
        Self { max_bytes, budget: Arc::clone(&self.budget), ..*self }
    }

    /// Sets memory aside for the first piece of a body.
    ///
    /// # Errors
    /// 413 for a body that announces to be too large, 503 beyond the budget of all bodies. Both close the connection:
    /// the body stays unread.
    pub(crate) fn begin(&self, body: &Body) -> Result<Held, Problem> {
        if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > self.max_bytes) {
            return Err(self.too_large());
        }
        self.hold(self.most(body).min(FIRST_PIECE)).map(Held)
    }

    /// The most that a body may still have: what it announces, or what is allowed.
    fn most(&self, body: &Body) -> usize {
        let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        announced.map_or(self.max_bytes, |bytes| bytes.min(self.max_bytes))
    }

    /// Appends the body to `out`, which has room for `held`. That grows with what arrives, and stands for the memory
    /// until the request is done.
    ///
    /// # Errors
    /// 413 beyond the limit, 503 beyond the budget of all bodies, 408 when the client is slow, 400 when the body
    /// breaks off or is badly chunked. All of them close the connection.
    pub(crate) async fn read(
        &self,
        mut body: Body,
        mut held: Held,
        out: &mut Vec<u8>,
    ) -> Result<Held, Problem> {
        let most = self.most(&body);
        let start = Instant::now();
        let mut received = 0;
        loop {
            let now = Instant::now();
            let earned = Duration::from_secs(received as u64) / self.min_bytes_per_second;
            let deadline = (now + self.stall).min(start + self.stall + earned);
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(None) => return Ok(held),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => {
                    return Err(Problem::bad_field("body", "the body broke off or is malformed").closing());
                }
                Err(_) => {
                    let seconds = start.elapsed().as_secs_f64();
                    let detail = format!("after {seconds:.1} s only {received} bytes of the body are here");
                    return Err(Problem::new(Kind::RequestTimeout, detail).not_sent(Access::Write).closing());
                }
            };
            // Trailers say nothing that is stored.
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > most - received {
                return Err(self.too_large());
            }
            let had = received;
            received += data.len();
            if received > held.bytes() {
                // Twice as much each time, so that the bytes are seldom moved.
                let grown = received.max(held.bytes() * 2).min(most);
                held.0.merge(self.hold(grown - held.bytes())?);
                out.reserve_exact(grown - had);
            }
            out.extend_from_slice(&data);
        }
    }

    /// Nobody waits here: bodies that have grown half-way would wait for each other.
    fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        u32::try_from(bytes)
            .ok()
            .and_then(|bytes| Arc::clone(&self.budget).try_acquire_many_owned(bytes).ok())
            .ok_or_else(|| {
                Problem::new(Kind::Overloaded, "too many bytes of request bodies are in flight")
                    .not_sent(Access::Write)
                    .closing()
            })
    }

    fn too_large(&self) -> Problem {
        Problem::new(Kind::ValueTooLarge, format!("the body may have {} bytes", self.max_bytes))
            .about("body")
            .closing()
    }
}
