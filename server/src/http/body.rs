//! Reading request bodies: never more than allowed, never more at once than the node can hold, never for ever.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::{Access, Kind, Problem};

/// Bounds of bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    max_bytes: usize,
    stall: Duration,
    min_bytes_per_second: u32,
    /// One permit per byte in flight.
    budget: Arc<Semaphore>,
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

    /// Refuses a body that announces to be too large.
    ///
    /// # Errors
    /// 413, closing: the body stays unread.
    pub(crate) fn check_length(&self, body: &Body) -> Result<usize, Problem> {
        let announced = body.size_hint().lower();
        usize::try_from(announced)
            .ok()
            .filter(|bytes| *bytes <= self.max_bytes)
            .ok_or_else(|| self.too_large())
    }

    /// Appends the body to `out`. The permit stands for its bytes until the request is done.
    ///
    /// # Errors
    /// 413 beyond the limit, 503 beyond the budget of all bodies, 408 when the client is slow, 400 when the body
    /// breaks off or is badly chunked. All of them close the connection.
    pub(crate) async fn read(
        &self,
        mut body: Body,
        out: &mut BytesMut,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let mut held = self.hold(self.check_length(&body)?)?;
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
            received += data.len();
            if received > self.max_bytes {
                return Err(self.too_large());
            }
            if received > held.num_permits() {
                held.merge(self.hold(received - held.num_permits())?);
            }
            out.extend_from_slice(&data);
        }
    }

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
        Problem::new(Kind::ValueTooLarge, format!("a value may have {} bytes", self.max_bytes))
            .about("body")
            .closing()
    }
}
