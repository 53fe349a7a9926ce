//! A client: sends an operation to a node and says what is known of its outcome.
//!
//! Nothing is ever sent twice for one operation: a second copy would be a second write with its own timestamp.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use helenus_bench::history::{
    Acknowledgement, Action, Level, MemberView, Moment, Operation, Outcome, Phase, Seen, Timestamp,
};
use serde_json::Value as Json;

use super::{nodes::Network, values};

/// The deadline that requests carry.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// When a client gives up: the deadline, and what an answer needs on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_millis(2_500);

/// The clock of the history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Moment {
        Moment(0).plus(self.0.elapsed())
    }
}

/// What a client is about to do.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) action: Action,
    pub(super) level: Level,
    pub(super) coordinator: u32,
    pub(super) phase: Phase,
}

/// One client with its connections.
pub(super) struct Client {
    number: u32,
    network: Network,
    clock: Clock,
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new(number: u32, network: Network, clock: Clock) -> Self {
        Self { number, network, clock, agent: agent(PATIENCE) }
    }

    /// Does an operation.
    pub(super) fn perform(&self, request: Request) -> Operation {
        let Request { id, key, action, level, coordinator, phase } = request;
        let http = self.http_request(&key, &action, level, coordinator);
        let invoked = self.clock.now();
        let known = match http.map_err(ureq::Error::from).and_then(|http| exchange(&self.agent, http)) {
            Ok(reply) => Known::from_reply(&action, &reply),
            Err(error) => Known::from_error(&error),
        };
        let returned = self.clock.now();
        let Known { outcome, timestamp, seen, replicas, detail } = known;
        Operation {
            id,
            client: self.number,
            key,
            action,
            level,
            coordinator,
            phase,
            invoked,
            returned,
            outcome,
            timestamp,
            seen,
            replicas,
            session: None,
            detail,
        }
    }

    fn http_request(
        &self,
        key: &str,
        action: &Action,
        level: Level,
        coordinator: u32,
    ) -> Result<ureq::http::Request<Vec<u8>>, ureq::http::Error> {
        let address = self.network.http(coordinator);
        let deadline_ms = DEADLINE.as_millis();
        let mut url =
            format!("http://{address}/v1/kv/default/{key}?consistency={level}&timeout_ms={deadline_ms}");
        let (method, body, stamp) = match *action {
            Action::Write { value, ttl_s, client_timestamp } => {
                if let Some(ttl_s) = ttl_s {
                    url += &format!("&ttl={ttl_s}");
                }
                ("PUT", values::bytes(value), client_timestamp)
            }
            Action::Delete { client_timestamp } => ("DELETE", Vec::new(), client_timestamp),
            Action::Read => ("GET", Vec::new(), None),
        };
        if let Some(Timestamp(stamp)) = stamp {
            url += &format!("&timestamp={stamp}");
        }
        ureq::http::Request::builder().method(method).uri(url).body(body)
    }
}

fn agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .max_redirects(0)
        .proxy(None)
        .build()
        .into()
}

/// A whole answer.
struct Reply {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

fn exchange(agent: &ureq::Agent, request: ureq::http::Request<Vec<u8>>) -> Result<Reply, ureq::Error> {
    let is_bodiless = matches!(request.method().as_str(), "GET" | "DELETE");
    let mut response = if is_bodiless { agent.run(request.map(|_| ()))? } else { agent.run(request)? };
    let body = response.body_mut().with_config().limit(16 << 20).read_to_vec()?;
    Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn timestamp(&self) -> Option<Timestamp> {
        self.header("helenus-timestamp")?.parse().ok().map(Timestamp)
    }

    fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or(Json::Null)
    }

    /// `quorum; required=2; acknowledged=2`
    fn replicas(&self) -> Option<Acknowledgement> {
        let header = self.header("helenus-consistency")?;
        let number = |name: &str| {
            let field = header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            field.and_then(|number| number.parse().ok())
        };
        Some(Acknowledgement { required: number("required")?, acknowledged: number("acknowledged")? })
    }

    /// Status and type of a problem, its outcome and its numbers.
    fn describe(&self) -> String {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or("").to_owned();
        let kind = text("type");
        let mut described = format!("{} {}", self.status, kind.trim_start_matches("/problems/"));
        for name in ["required", "received", "alive"] {
            if let Some(number) = json[name].as_u64() {
                described += &format!(", {name} {number}");
            }
        }
        if self.status < 500 || kind.is_empty() {
            described += &format!(" {}", text("detail"));
        }
        described
    }
}

/// What a client knows afterwards.
struct Known {
    outcome: Outcome,
    timestamp: Option<Timestamp>,
    seen: Option<Seen>,
    replicas: Option<Acknowledgement>,
    detail: Option<String>,
}

impl Known {
    fn not_done(outcome: Outcome, detail: String) -> Self {
        Self { outcome, timestamp: None, seen: None, replicas: None, detail: Some(detail) }
    }

    fn from_error(error: &ureq::Error) -> Self {
        // Only a connection that was never made is known to have carried nothing.
        let refused =
            matches!(error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused);
        let outcome = if refused { Outcome::Failed } else { Outcome::Unknown };
        Self::not_done(outcome, error.to_string())
    }

    fn from_reply(action: &Action, reply: &Reply) -> Self {
        let is_read = *action == Action::Read;
        match reply.status {
            200 if is_read => Self::ok(None, Some(Self::value(reply)), reply),
            200 => {
                let timestamp = reply.json()["timestamp"].as_u64().map(Timestamp);
                Self::ok(timestamp, None, reply)
            }
            404 if is_read && reply.json()["type"] == "/problems/not-found" => {
                let seen = match reply.timestamp() {
                    Some(timestamp) if reply.header("helenus-deleted").is_some() => {
                        Seen::Tombstone { timestamp }
                    }
                    _ => Seen::Absent,
                };
                Self::ok(None, Some(seen), reply)
            }
            503 => {
                // The interface says so twice; if the two differ, nobody knows.
                let outcome = match reply.json()["outcome"].as_str() {
                    Some("not-applied") => Outcome::Failed,
                    Some("none") if is_read => Outcome::Failed,
                    _ => Outcome::Rejected,
                };
                Self::not_done(outcome, reply.describe())
            }
            500 | 504 | 507 => Self::not_done(Outcome::Unknown, reply.describe()),
            _ => Self::not_done(Outcome::Rejected, reply.describe()),
        }
    }

    fn ok(timestamp: Option<Timestamp>, seen: Option<Seen>, reply: &Reply) -> Self {
        Self { outcome: Outcome::Ok, timestamp, seen, replicas: reply.replicas(), detail: None }
    }

    fn value(reply: &Reply) -> Seen {
        let timestamp = reply.timestamp().unwrap_or_default();
        match values::parse(&reply.body) {
            Some(value) => {
                let ttl_left_s = reply.header("helenus-ttl").and_then(|left| left.parse().ok());
                Seen::Value { value, timestamp, ttl_left_s }
            }
            None => {
                let head = &reply.body[..reply.body.len().min(40)];
                let bytes = format!("{} bytes, {}", reply.body.len(), head.escape_ascii());
                Seen::Garbage { timestamp, bytes }
            }
        }
    }
}

/// What nodes say of themselves.
pub(super) struct Observer {
    network: Network,
    agent: ureq::Agent,
}

impl Observer {
    pub(super) fn new(network: Network) -> Self {
        // Short: it is asked again and again, also of nodes that stand still.
        Self { network, agent: agent(Duration::from_millis(500)) }
    }

    /// Whether a node says that it is ready.
    pub(super) fn is_ready(&self, node: u32) -> bool {
        self.get(node, "/readyz").is_some_and(|reply| reply.status == 200)
    }

    /// The host id of a node.
    pub(super) fn host_id(&self, node: u32) -> Option<String> {
        let status = self.get(node, "/admin/v1/status")?.json();
        status["host_id"].as_str().map(str::to_owned)
    }

    /// The version of a node.
    pub(super) fn version(&self, node: u32) -> Option<String> {
        let version = self.get(node, "/version")?;
        let json = version.json();
        let text =
            json["version"].as_str().map_or_else(|| version.body.escape_ascii().to_string(), str::to_owned);
        Some(text)
    }

    /// The members as a node sees them, ordered by host id; none if it does not say.
    pub(super) fn members(&self, node: u32) -> Vec<MemberView> {
        let status = self.get(node, "/admin/v1/status").map(|reply| reply.json()).unwrap_or_default();
        let mut members: Vec<MemberView> = status["members"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|member| MemberView {
                host_id: member["host_id"].as_str().unwrap_or("?").to_owned(),
                state: member["state"].as_str().unwrap_or("?").to_owned(),
                up: member["up"] == true,
            })
            .collect();
        members.sort();
        members
    }

    fn get(&self, node: u32, path: &str) -> Option<Reply> {
        let address: SocketAddr = self.network.http(node);
        let request = ureq::http::Request::builder().uri(format!("http://{address}{path}")).body(Vec::new());
        exchange(&self.agent, request.ok()?).ok()
    }
}
