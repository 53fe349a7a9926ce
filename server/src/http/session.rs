//! `Helenus-Session`: what a client has written and read, carried by the client ([`helenus_cluster::session`]).
//!
//! A token is base64url without padding. Each reply of a read or write that reached the coordinator has one; a request that
//! was refused before leaves the client with the one it has.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use helenus_cluster::{
    node::Failure,
    session::{MAX_TOKEN_BYTES, Observed, Session, TokenError},
};
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use super::problem::Problem;

pub(super) const SESSION: HeaderName = HeaderName::from_static("helenus-session");

/// The session that a request goes on with.
///
/// # Errors
/// 400 for what is no token of this build.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Arc<Session>>, Problem> {
    let mut values = headers.get_all(SESSION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refusal("it is given more than once"));
    }
    let too_long = || refusal(&TokenError::TooLong.to_string());
    if value.len() > MAX_TOKEN_BYTES.div_ceil(3) * 4 {
        return Err(too_long());
    }
    let token = URL_SAFE_NO_PAD
        .decode(value.as_bytes())
        .map_err(|error| refusal(&format!("it is not base64url without padding: {error}")))?;
    let session = Session::from_token(&token).map_err(|error| refusal(&error.to_string()))?;
    Ok(Some(Arc::new(session)))
}

fn refusal(why: &str) -> Problem {
    let detail = format!("`Helenus-Session` is no token that a node gave out: {why}");
    Problem::bad_field("Helenus-Session", detail)
}

/// The session after a reply that tells this.
pub(super) fn after(before: Option<&Session>, observed: Option<&Observed>) -> Session {
    let mut session = before.cloned().unwrap_or_default();
    observed.into_iter().for_each(|observed| session.note(observed));
    session
}

/// The session after a request that failed.
pub(super) fn after_failure(before: Option<&Session>, failure: &Failure) -> Session {
    let mut session = before.cloned().unwrap_or_default();
    failure.stamped.into_iter().for_each(|stamp| session.follow(stamp));
    session
}

/// The token, as a header.
pub(super) fn header(session: &mut Session) -> HeaderValue {
    HeaderValue::try_from(URL_SAFE_NO_PAD.encode(session.to_token())).expect("base64url is ASCII")
}
