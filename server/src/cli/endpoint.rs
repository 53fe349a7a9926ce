//! The node that a command talks to, and what its refusals mean.

use std::{fmt, num::NonZero, time::Duration};

use anyhow::Context;
use serde::Deserialize;
use ureq::{
    Agent, Body,
    http::{Method, Request, Response, StatusCode},
};

use super::Usage;

/// What to do if this is the wrong one.
const OTHER_NODE: &str = "--endpoint or HELENUS_ENDPOINT names another node";

/// A reply that is not the answer itself is never longer.
const MAX_REPLY_BYTES: u64 = 16 << 20;

/// Node 1 of a local cluster.
pub(super) const FIRST_LOCAL: &str = "http://127.0.0.1:7071";

/// How long a node may take to say what it knows itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chooses the node.
#[derive(Debug, Clone, clap::Args)]
pub struct EndpointArgs {
    /// URL of a node; the environment variable HELENUS_ENDPOINT sets the default
    #[arg(long, default_value_t = default_endpoint(), value_name = "URL", value_parser = endpoint)]
    pub endpoint: String,
}

/// What the environment says, else node 1 of a local cluster. An empty variable says nothing.
fn default_endpoint() -> String {
    let set = std::env::var("HELENUS_ENDPOINT").unwrap_or_default();
    if set.is_empty() { FIRST_LOCAL.to_owned() } else { set }
}

fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let uri: ureq::http::Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err("nodes speak HTTP, without TLS: write http://host:port".to_owned());
    }
    if let Some(port) =
        uri.authority().and_then(|authority| port(authority.as_str())).filter(|it| !is_port(it))
    {
        return Err(format!("`{port}` is no port, which is a number from 1 to 65535"));
    }
    if uri.path_and_query().is_some_and(|rest| rest != "/" && rest != "") {
        return Err("write http://host:port without a path".to_owned());
    }
    Ok(text.to_owned())
}

/// What an authority says behind its host: any text, for which the library would take port 80.
fn port(authority: &str) -> Option<&str> {
    // An address of IPv6 has colons of its own.
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    behind.rsplit_once(':').map(|(_, port)| port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<NonZero<u16>>().is_ok()
}

/// An HTTP client that gives up after `patience`. It uses no proxy: nodes are near.
pub(super) fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("helenus/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(patience))
        .timeout_connect(Some(patience.min(Duration::from_secs(5))))
        .build()
        .into()
}

/// Sends a request to the node at `endpoint`, which is named when it cannot be reached.
pub(super) fn send(
    agent: &Agent,
    endpoint: &str,
    request: Request<impl ureq::AsSendBody>,
) -> anyhow::Result<Response<Body>> {
    let patience = agent.config().timeouts().global.unwrap_or_default();
    let outcome = if request.method() == Method::GET { "" } else { "; the outcome is unknown" };
    agent.run(request).map_err(|error| match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            anyhow::anyhow!("no connection to {endpoint} in time")
        }
        ureq::Error::Timeout(_) => {
            anyhow::anyhow!("no answer from {endpoint} in {:.1} s{outcome}", patience.as_secs_f64())
        }
        ureq::Error::Io(error) => Unreachable(format!("cannot talk to {endpoint}: {error}")).into(),
        ureq::Error::Protocol(error) => {
            anyhow::anyhow!("{endpoint} does not speak HTTP: {error} ({OTHER_NODE})")
        }
        error => anyhow::anyhow!("cannot talk to {endpoint}: {error}"),
    })
}

/// Nobody is there, or the connection broke off. Who was not there at first may be the wrong node.
#[derive(Debug, thiserror::Error)]
#[error("{0} ({OTHER_NODE})")]
pub(super) struct Unreachable(pub(super) String);

/// GETs JSON from a path of the node.
pub(super) fn get_json(endpoint: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    let agent = agent(PATIENCE);
    let request = Request::get(format!("{endpoint}{path}")).body(())?;
    let mut response = send(&agent, endpoint, request)?;
    if !response.status().is_success() {
        return Err(refusal(&mut response));
    }
    let bytes = read(&mut response)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{endpoint}{path} did not answer with JSON"))
}

/// POSTs nothing to a path of the node, and returns the JSON that it answers.
pub(super) fn post(endpoint: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    ask(&Method::POST, endpoint, path, PATIENCE)
}

/// Asks for a path of the node without a body, and returns the JSON that it answers.
pub(super) fn ask(
    method: &Method,
    endpoint: &str,
    path: &str,
    patience: Duration,
) -> anyhow::Result<serde_json::Value> {
    let agent = agent(patience);
    let request = Request::builder().method(method).uri(format!("{endpoint}{path}")).body(())?;
    let mut response = send(&agent, endpoint, request)?;
    if !response.status().is_success() {
        return Err(refusal(&mut response));
    }
    let bytes = read(&mut response)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{endpoint}{path} did not answer with JSON"))
}

/// The body of a short reply.
pub(super) fn read(response: &mut Response<Body>) -> anyhow::Result<Vec<u8>> {
    let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES + 1);
    body.read_to_vec().context("the reply broke off")
}

/// What a node says when it does not do what it was asked (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    r#type: String,
    title: String,
    detail: String,
    field: Option<String>,
    required: Option<u64>,
    received: Option<u64>,
    alive: Option<u64>,
    outcome: Option<String>,
    request_id: Option<String>,
}

impl Problem {
    /// The last segment of its type: `unavailable`.
    pub(super) fn name(&self) -> &str {
        self.r#type.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    /// What, why, and the numbers in brackets, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })?;
        let facts = [
            ("field", self.field.clone()),
            ("required", self.required.map(|number| number.to_string())),
            ("received", self.received.map(|number| number.to_string())),
            ("alive", self.alive.map(|number| number.to_string())),
            ("outcome", self.outcome.clone()),
            ("request", self.request_id.clone()),
        ];
        let facts: Vec<String> =
            facts.into_iter().filter_map(|(name, fact)| Some(format!("{name} {}", fact?))).collect();
        if facts.is_empty() { Ok(()) } else { write!(f, " [{}]", facts.join(", ")) }
    }
}

/// The problem that a reply carries; an empty one if it carries something else.
pub(super) fn problem(response: &mut Response<Body>) -> Problem {
    let bytes = read(response).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A reply that is no success, as an error.
pub(super) fn refusal(response: &mut Response<Body>) -> anyhow::Error {
    let status = response.status();
    describe(status, &problem(response))
}

/// A status and its problem, as an error. What the node takes for a bad request was asked wrongly here.
pub(super) fn describe(status: StatusCode, problem: &Problem) -> anyhow::Error {
    let said = match problem.name() {
        "" => return anyhow::anyhow!("{status}, which is no answer of a Helenus node ({OTHER_NODE})"),
        name => format!("{name} ({}): {problem}", status.as_u16()),
    };
    if status == StatusCode::BAD_REQUEST || problem.name() == "no-such-setting" {
        return Usage(said).into();
    }
    anyhow::anyhow!(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_is_named() {
        for fine in ["http://127.0.0.1:7071", "http://localhost", "http://[::1]:7071", "http://[::1]"] {
            assert_eq!(endpoint(fine), Ok(fine.to_owned()));
        }
        for (url, port) in [
            ("http://127.0.0.1:99999", "99999"),
            ("http://127.0.0.1:abc", "abc"),
            ("http://127.0.0.1:", ""),
            ("http://127.0.0.1:0", "0"),
            ("http://[::1]:x", "x"),
        ] {
            let why = endpoint(url).expect_err("no port");
            assert!(why.contains(&format!("`{port}` is no port")) || why == "not a URL", "{url}: {why}");
        }
    }

    #[test]
    fn what_a_node_refuses_as_a_bad_request_is_wrong_usage() {
        let refused = |status: StatusCode, name: &str| {
            let problem = Problem {
                r#type: format!("/problems/{name}"),
                detail: "not so".to_owned(),
                field: Some("value".to_owned()),
                ..Problem::default()
            };
            let error = describe(status, &problem);
            (error.is::<Usage>(), error.to_string())
        };
        assert_eq!(
            refused(StatusCode::BAD_REQUEST, "bad-request"),
            (true, "bad-request (400): not so [field value]".to_owned())
        );
        assert!(refused(StatusCode::NOT_FOUND, "no-such-setting").0);
        assert!(!refused(StatusCode::NOT_FOUND, "no-such-table").0);
        assert!(!describe(StatusCode::BAD_REQUEST, &Problem::default()).is::<Usage>(), "it is no node");
    }
}
