//! The part of a path that a route leaves open.

use axum::extract::{FromRequestParts, Path};
use hyper::http::request::Parts;

use super::problem::Problem;

/// That part, decoded. One that is no UTF-8 is refused like any other bad request.
pub(super) struct PathPart(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(part)) => Ok(Self(part)),
            Err(refused) => Err(Problem::bad_field("path", refused.body_text())),
        }
    }
}
