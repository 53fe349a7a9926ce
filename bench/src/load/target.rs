//! What a server is, and its table.

use std::{sync::Arc, time::Duration};

use serde_json::{Value as Json, json};

use super::ring;
use crate::{
    client::{Protocol, Routes},
    measurement::Server,
};

/// Why a cluster cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No endpoint answers.
    #[error("no endpoint answers; the last said: {0}")]
    Unreachable(String),

    /// The table is not there and cannot be made.
    #[error("cannot create table {table}: {status} {answer}")]
    NoTable {
        /// Which.
        table: String,
        /// The HTTP status.
        status: u16,
        /// The answer.
        answer: String,
    },
}

/// The table every cluster has.
const DEFAULT_TABLE: &str = "default";

/// A cluster that is ready for load.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table to use.
    pub table: String,
    /// What is known of the server.
    pub server: Server,
    /// Where keys are, if clients go straight to replicas.
    pub routes: Option<Arc<Routes>>,
    /// What a reader should be told.
    pub notes: Vec<String>,
}

/// How clients choose among endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Each keeps to one, and they are dealt out in turn.
    RoundRobin,
    /// Each goes to a replica of the key.
    TokenAware,
}

/// What a server said.
pub(super) struct Answer {
    pub(super) status: u16,
    body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or(Json::Null)
    }
}

impl Target {
    /// Looks at a cluster, and creates the table if it is missing, with the factor of the default one. On a server without
    /// tables the default one it is, with a note; likewise round robin where keys cannot be routed.
    ///
    /// # Errors
    /// If no endpoint answers, or the table cannot be made.
    pub fn prepare(endpoints: &[String], protocol: &Protocol, routing: Routing) -> Result<Self, TargetError> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        let mut last = String::new();
        for endpoint in endpoints {
            let endpoint = endpoint.trim_end_matches('/');
            match look(&agent, endpoint, protocol) {
                Ok(Err(error)) => return Err(error),
                Ok(Ok((mut target, replication))) => {
                    if routing == Routing::TokenAware {
                        target.route(ring::ask(&agent, endpoints, &target.table, &replication));
                    }
                    return Ok(target);
                }
                Err(error) => last = format!("{endpoint}: {error}"),
            }
        }
        Err(TargetError::Unreachable(last))
    }

    fn route(&mut self, asked: Result<ring::Asked, String>) {
        match asked {
            Ok(asked) => {
                let (without, members) = asked.without_endpoint;
                if without > 0 {
                    self.notes.push(format!(
                        "{without} of {members} members have no endpoint here: what only they hold takes one hop more"
                    ));
                }
                self.routes = Some(Arc::new(asked.routes));
            }
            Err(why) => self.notes.push(format!("clients keep to their endpoints, replicas or not: {why}")),
        }
    }
}

pub(super) fn get(agent: &ureq::Agent, url: &str) -> Result<Answer, ureq::Error> {
    let mut response = agent.get(url).call()?;
    Ok(Answer { status: response.status().as_u16(), body: response.body_mut().read_to_string()? })
}

/// The target, and its table's replication.
fn look(
    agent: &ureq::Agent,
    endpoint: &str,
    protocol: &Protocol,
) -> Result<Result<(Target, Json), TargetError>, ureq::Error> {
    let version = get(agent, &format!("{endpoint}/version"))?.json();
    let mut target =
        Target { table: String::new(), server: Server::default(), routes: None, notes: Vec::new() };
    let Protocol::Helenus { table, .. } = protocol else {
        target.server.version = version["etcdserver"].as_str().map(|version| format!("etcd {version}"));
        return Ok(Ok((target, Json::Null)));
    };
    target.server.version = version["version"].as_str().map(|number| {
        let commit = version["commit"].as_str().filter(|&commit| commit != "unknown").unwrap_or_default();
        format!("helenus {number} {commit}").trim_end().to_owned()
    });
    target.table.clone_from(table);
    let url = |table: &str| format!("{endpoint}/v1/tables/{table}");
    let mut found = get(agent, &url(table))?;
    if is_without_tables(&found) {
        if table != DEFAULT_TABLE {
            DEFAULT_TABLE.clone_into(&mut target.table);
            target
                .notes
                .push(format!("the server knows no tables: {DEFAULT_TABLE} is used instead of {table}"));
        }
        return Ok(Ok((target, Json::Null)));
    }
    if found.status == 404 {
        let default = get(agent, &url(DEFAULT_TABLE))?.json();
        let definition = match &default["replication"] {
            Json::Null => json!({}),
            replication => json!({ "replication": replication }),
        };
        let mut response =
            agent.put(url(table)).header("content-type", "application/json").send(definition.to_string())?;
        found = Answer { status: response.status().as_u16(), body: response.body_mut().read_to_string()? };
        if !matches!(found.status, 200 | 201) {
            let (table, status) = (table.clone(), found.status);
            return Ok(Err(TargetError::NoTable { table, status, answer: found.body }));
        }
        target.notes.push(format!("table {table} was created"));
        found = get(agent, &url(table))?;
    }
    let replication = found.json()["replication"].take();
    target.server.factor = factor(&replication);
    Ok(Ok((target, replication)))
}

/// A server without the routes of tables, as against one without this table.
fn is_without_tables(answer: &Answer) -> bool {
    let problem = answer.json()["type"].as_str().unwrap_or_default().to_owned();
    matches!(answer.status, 405 | 501) || (answer.status == 404 && !problem.ends_with("/no-such-table"))
}

/// `3`, or `dc1: 3, dc2: 2`.
fn factor(replication: &Json) -> Option<String> {
    if let Some(factor) = replication["factor"].as_u64() {
        return Some(factor.to_string());
    }
    let datacenters = replication
        .as_object()?
        .iter()
        .filter_map(|(name, factor)| factor.as_u64().map(|factor| format!("{name}: {factor}")));
    Some(datacenters.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}
