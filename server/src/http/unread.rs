//! Bodies that nobody reads, such as the empty chunk that some clients send with a POST of nothing.
//!
//! A reply does not wait for them. Behind one whose end has not come by then hyper closes the connection: the reply says
//! so, or the client would lose its next request.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::{
    body::{Body as _, Frame, SizeHint},
    header::{CONNECTION, HeaderValue},
};

/// What is dropped at once of a body that nobody wants.
const MOST_DROPPED_BYTES: usize = 64 << 10;

/// Drops what is here of a body that is not wanted: a small one mostly is, and its connection can go on.
pub(super) fn discard(mut body: Body) {
    let mut dropped = 0;
    while dropped <= MOST_DROPPED_BYTES
        && let Some(Some(Ok(frame))) = body.frame().now_or_never()
    {
        dropped += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Follows how far the body of a request is read.
#[derive(Debug)]
pub(super) struct Follower(Arc<AtomicBool>);

impl Follower {
    /// Of a request, and the request with the body that is followed.
    pub(super) fn of(request: Request) -> (Self, Request) {
        let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let follower = Self(Arc::clone(&is_read));
        let request = request.map(|body| match is_read.load(Relaxed) {
            true => body,
            false => Body::new(Followed { body, is_read }),
        });
        (follower, request)
    }

    /// The reply to the request.
    pub(super) fn reply(&self, mut reply: Response) -> Response {
        if !self.0.load(Relaxed) {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// A body that tells when it was read to its end.
struct Followed {
    body: Body,
    is_read: Arc<AtomicBool>,
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
