//! One connection from its first byte to its close.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::Either;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use super::{
    Overload, Refusal, Refuse, Settings,
    guarded_stream::{Activity, GuardedStream},
};

/// Hyper accepts no smaller bound.
const MIN_BUFFER_BYTES: usize = 8192;

/// What can be served: an `axum::Router`, or any other cheaply cloned service that never fails.
pub trait Served:
    Service<Request<Incoming>, Response = Response<axum::body::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + Unpin
    + 'static
{
}

impl<S> Served for S where
    S: Service<Request<Incoming>, Response = Response<axum::body::Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + Unpin
        + 'static
{
}

/// What all connections of a listener share.
pub(super) struct Terms<S> {
    pub(super) settings: Settings,
    pub(super) service: S,
    pub(super) refuse: Refuse,
    pub(super) open: Gauge,
    pub(super) ending: Ending,
}

/// How connections learn that they should end.
pub(super) struct Ending {
    /// After the request under way, or now if there is none.
    pub(super) winding_down: CancellationToken,
    /// Now.
    pub(super) cut: CancellationToken,
}

/// Serves a connection that has a place.
pub(super) async fn run<S: Served>(stream: TcpStream, terms: Arc<Terms<S>>, _place: OwnedSemaphorePermit) {
    let _open = Counted::new(&terms.open);
    let _ = terms.ending.cut.run_until_cancelled(serve(stream, &terms)).await;
}

/// Tells a connection beyond the cap so.
pub(super) async fn turn_away<S: Served>(
    stream: TcpStream,
    terms: Arc<Terms<S>>,
    _place: OwnedSemaphorePermit,
) {
    let mut stream = GuardedStream::new(stream, Arc::new(Activity::new()), &terms.settings);
    let reply = (terms.refuse)(Refusal::Full);
    let _ = terms.ending.winding_down.run_until_cancelled(stream.say_and_close(Some(reply))).await;
}

async fn serve<S: Served>(stream: TcpStream, terms: &Terms<S>) {
    let activity = Arc::new(Activity::new());
    let service = service_fn(|request| {
        let reply = if activity.begin() {
            Either::Left(terms.service.clone().oneshot(request))
        } else {
            Either::Right(ready(Ok(last_reply((terms.refuse)(Refusal::Fragment)))))
        };
        let activity = Arc::clone(&activity);
        async move {
            reply.await.map(|reply| {
                activity.replied(reply.extensions().get::<Overload>().is_some());
                reply.map(|body| WatchedBody { body, activity })
            })
        }
    });
    let stream = GuardedStream::new(stream, Arc::clone(&activity), &terms.settings);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guarded stream has finer ones.
        .header_read_timeout(None)
        .max_header_size(terms.settings.max_head_bytes)
        // A head must fit; hyper's own bound of 400 KiB each would be gigabytes for all connections together.
        .max_buf_size((2 * terms.settings.max_head_bytes).max(MIN_BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service);

    let served = tokio::select! {
        biased;
        served = &mut connection => Some(served),
        () = terms.ending.winding_down.cancelled() => None,
    };
    // Hyper closes without an answer on an HTTP/2 preface.
    let mut unanswered = None;
    match served {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::debug!(%error, "connection ended early");
            if error.is_parse() && activity.is_between_requests() {
                unanswered = Some(Refusal::Malformed(StatusCode::BAD_REQUEST));
            }
        }
        None if activity.is_between_requests() => return,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = (&mut connection).await;
        }
    }
    let mut stream = connection.into_parts().io.into_inner();
    let reply = stream.refusal().or(unanswered).map(|refusal| (terms.refuse)(refusal));
    stream.say_and_close(reply).await;
}

/// A refusal as the reply to a request, and the end of its connection.
fn last_reply(refusal: Response<Bytes>) -> Response<axum::body::Body> {
    let mut reply = refusal.map(axum::body::Body::from);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// Counts a connection until its task ends, however it ends.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(open: &'a Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A reply's body that tells when hyper has taken all of it.
struct WatchedBody {
    body: axum::body::Body,
    activity: Arc<Activity>,
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.activity.handed_over();
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
