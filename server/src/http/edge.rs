//! What every request passes on its way in, and every reply on its way out: limits on the head, the request's id,
//! and problems turned into bodies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use hyper::{
    StatusCode, Version,
    header::{CACHE_CONTROL, HOST, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    Api, Limits, key, origin, parameters,
    problem::{Kind, Problem},
    unread::Follower,
};
use crate::{
    listen::{Overload, Refusal},
    telemetry::millis,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("helenus-request-id");

/// A seeded stream of numbers that all requests share without a lock: SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014, figure 5).
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GOLDEN_GAMMA, Relaxed).wrapping_add(GOLDEN_GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The id of a request, which its reply has in hexadecimal; the node names it so to others.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestNumber(pub(super) u64);

/// Lets what the URL table serves in, and its reply out.
pub(super) async fn layer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (follower, request) = Follower::of(request);
    follower.reply(pass(&api, request, |request| next.run(request)).await)
}

/// Lets a request in to what answers it, and its reply out.
pub(super) async fn pass<A, F>(api: &Api, mut request: Request, answer: A) -> Response
where
    A: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let start = Instant::now();
    let _in_flight = api.metrics.in_flight();
    let number = api.numbers.next();
    let request_id = format!("{number:016x}");
    request.extensions_mut().insert(RequestNumber(number));
    let method = request.method().clone();
    let reply = match check_head(&request, &api.limits) {
        Ok(()) => answer(request).await,
        Err(problem) => axum::response::IntoResponse::into_response(problem),
    };
    let reply = finish(reply, &request_id);
    let status = reply.status();
    tracing::debug!(%request_id, %method, status = status.as_u16(), elapsed_ms = millis(start.elapsed()), "request");
    reply
}

/// What is said to a connection whose request never got this far.
pub(super) fn refuse(api: &Api, refusal: Refusal) -> Response<Bytes> {
    let problem = match refusal {
        Refusal::Full => Problem::new(Kind::Overloaded, "too many connections are open"),
        Refusal::SlowHead => {
            Problem::new(Kind::RequestTimeout, "the head of the request did not arrive in time")
        }
        Refusal::Malformed(StatusCode::URI_TOO_LONG) => {
            Problem::new(Kind::TargetTooLong, "the request target is too long")
        }
        Refusal::Malformed(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            Problem::new(Kind::HeadersTooLarge, "the head of the request is too large")
        }
        Refusal::Fragment => {
            Problem::bad_field("target", "the request target has a raw `#`; in a key it is written %23")
        }
        Refusal::Malformed(_) => Problem::new(Kind::BadRequest, "the head of the request is malformed"),
    };
    let request_id = format!("{:016x}", api.numbers.next());
    let (status, headers, body) = problem.render(&request_id);
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    label(&mut reply, &request_id);
    reply
}

fn check_head(request: &Request, limits: &Limits) -> Result<(), Problem> {
    let path = request.uri().path();
    if !path.starts_with('/') && path != "*" {
        // `GET livez`, and CONNECT: the target is a host.
        return Err(Problem::new(Kind::BadRequest, "the request target is not a path"));
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.max_target_bytes {
        // So long, it is too large even with each byte escaped.
        let is_for_its_key = key::split(path).1.len() > 3 * key::MAX_KEY_BYTES;
        return Err(Problem::new(
            if is_for_its_key { Kind::KeyTooLarge } else { Kind::TargetTooLong },
            format!("the request target has {target} bytes and may have {}", limits.max_target_bytes),
        ));
    }
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > limits.max_headers || bytes > limits.max_header_bytes {
        return Err(Problem::new(
            Kind::HeadersTooLarge,
            format!(
                "{} headers of {bytes} bytes; at most {} of {} bytes are accepted",
                headers.len(),
                limits.max_headers,
                limits.max_header_bytes
            ),
        ));
    }
    parameters::known_headers(headers)?;
    // RFC 9112, section 3.2: exactly one Host, on HTTP/1.1.
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Problem::bad_field("Host", "a request has exactly one `Host` header"));
    }
    origin::check(request.method(), headers)
}

/// Gives a problem its body, and every reply what all replies have.
fn finish(mut reply: Response, request_id: &str) -> Response {
    if let Some(problem) = reply.extensions_mut().remove::<Problem>() {
        let (_, headers, body) = problem.render(request_id);
        let length = HeaderValue::from(body.len());
        reply.headers_mut().extend(headers);
        reply.headers_mut().insert(hyper::header::CONTENT_LENGTH, length);
        *reply.body_mut() = Body::from(body);
        if problem.kind == Kind::Overloaded {
            reply.extensions_mut().insert(Overload);
        }
        if reply.status() == StatusCode::INTERNAL_SERVER_ERROR || problem.kind == Kind::StorageFull {
            tracing::error!(%request_id, detail = problem.detail, "request failed");
        }
    }
    label(&mut reply, request_id);
    reply
}

fn label<B>(reply: &mut Response<B>, request_id: &str) {
    let headers = reply.headers_mut();
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
}
