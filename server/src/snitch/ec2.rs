//! Asks an instance's metadata service for its availability zone.

use std::time::Duration;

use anyhow::Context;
use helenus_cluster::snitch::{
    Locality,
    ec2::{self, Naming, TOKEN_HEADER, TOKEN_PATH, TOKEN_TTL_HEADER, ZONE_PATH},
};
use ureq::{
    Agent, Body,
    http::{Request, Response},
};

/// The token is used once.
const TOKEN_TTL_SECONDS: &str = "60";

/// Longest answer that is read; tokens have 56 bytes, zones a dozen.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Where this instance stands. Each of the two calls takes `timeout` at most.
pub(super) fn locality(endpoint: &str, timeout: Duration, naming: Naming) -> anyhow::Result<Locality> {
    // The service is on the link, behind no proxy, and no redirection is to be trusted with the token.
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let put = Request::put(format!("{endpoint}{TOKEN_PATH}"));
    let put = put.header(TOKEN_TTL_HEADER, TOKEN_TTL_SECONDS).body(())?;
    let token = answer(agent.run(put), endpoint, TOKEN_PATH)?;
    let get = Request::get(format!("{endpoint}{ZONE_PATH}")).header(TOKEN_HEADER, token.trim()).body(())?;
    let zone = answer(agent.run(get), endpoint, ZONE_PATH)?;
    ec2::locality(&zone, naming).map_err(anyhow::Error::msg)
}

fn answer(
    response: Result<Response<Body>, ureq::Error>,
    endpoint: &str,
    path: &str,
) -> anyhow::Result<String> {
    let what = || format!("the metadata service at {endpoint}{path} does not answer");
    let mut response = response.with_context(what)?;
    if !response.status().is_success() {
        anyhow::bail!("the metadata service at {endpoint}{path} answered {}", response.status());
    }
    response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().with_context(what)
}
