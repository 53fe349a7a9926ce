//! The routes of a listener as a service: the URL table, and a way past it for what a node does most.
//!
//! A read or write of one key is known by its method and the beginning of its path. The table would look it up, decode the
//! parts of its path, which [`super::key`] takes from the raw path anyway, and wrap its handler in half a dozen boxes: a
//! twentieth of what a node spends on a write. What is not known at first sight (`HEAD`, a path without a key, another
//! method) goes through the table, which has these routes as well.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::future::RouteFuture,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either},
};
use hyper::{
    Method,
    body::{Body as _, Incoming},
    header::{CONTENT_LENGTH, HeaderValue},
};
use tower::Service;

use super::{Api, edge, key, kv, unread::Follower};

/// What a listener serves.
#[derive(Clone)]
pub struct Routes {
    pub(super) api: Arc<Api>,
    pub(super) table: Router,
    /// Whether the routes of clients are among them.
    pub(super) has_keys: bool,
}

impl Service<hyper::Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<hyper::Request<Incoming>>::poll_ready(&mut self.table, context)
    }

    fn call(&mut self, request: hyper::Request<Incoming>) -> Self::Future {
        if self.has_keys && is_of_one_key(request.method(), request.uri().path()) {
            let api = Arc::clone(&self.api);
            Either::Left(answer(api, request.map(Body::new)).map(Ok).boxed())
        } else {
            Either::Right(self.table.call(request))
        }
    }
}

fn is_of_one_key(method: &Method, path: &str) -> bool {
    let (table, key) = key::split(path);
    !table.is_empty() && !key.is_empty() && matches!(method.as_str(), "GET" | "PUT" | "POST" | "DELETE")
}

async fn answer(api: Arc<Api>, request: Request) -> Response {
    let state = State(Arc::clone(&api));
    let handle = |request: Request| async move {
        match *request.method() {
            Method::GET => kv::get(state, request).await,
            Method::DELETE => kv::delete(state, request).await,
            _ => kv::put(state, request).await,
        }
    };
    let (follower, request) = Follower::of(request);
    let mut reply = follower.reply(edge::pass(&api, request, handle).await);
    // As the table does.
    if let Some(length) = reply.body().size_hint().exact() {
        reply.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_of_one_key_goes_past_the_table() {
        for (method, path, is_of_one) in [
            (Method::GET, "/v1/kv/t/k", true),
            (Method::PUT, "/v1/kv/t/a/b", true),
            (Method::POST, "/v1/kv/t//", true),
            (Method::DELETE, "/v1/kv/%74/k", true),
            (Method::HEAD, "/v1/kv/t/k", false),
            (Method::PATCH, "/v1/kv/t/k", false),
            (Method::PUT, "/v1/kv/t/", false),
            (Method::POST, "/v1/kv/t", false),
            (Method::GET, "/v1/kv//k", false),
            (Method::GET, "/v1/kv/", false),
            (Method::GET, "/v1/kv", false),
            (Method::GET, "/v1/tables/t/k", false),
            (Method::GET, "*", false),
        ] {
            assert_eq!(is_of_one_key(&method, path), is_of_one, "{method} {path}");
        }
    }
}
