//! What came of an operation.

use serde::{Deserialize, Serialize};

/// Kinds of outcomes; all but the first are failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done as asked.
    Ok,
    /// There is no such record.
    NotFound,
    /// Too few replicas, or a server that does not serve: nothing was done.
    Unavailable,
    /// No answer in time, from replicas or from the server.
    Timeout,
    /// The server refused because it had too much to do.
    Overloaded,
    /// Anything else: refused connections, bad requests, failures of replicas.
    Other,
}

impl Outcome {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::NotFound, Self::Unavailable, Self::Timeout, Self::Overloaded, Self::Other];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not found",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Other => "other",
        }
    }
}

/// An outcome with YCSB's name of it, and what exactly failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Its kind.
    pub outcome: Outcome,
    /// YCSB's status.
    pub status: &'static str,
    /// Of a failure: the HTTP status and the type of the problem, or the error of the connection.
    pub detail: Option<String>,
}

impl Judgement {
    /// A success.
    pub const OK: Self = Self { outcome: Outcome::Ok, status: "OK", detail: None };

    /// Whether it is a success.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// No answer for longer than the client waits.
    #[must_use]
    pub fn silence() -> Self {
        Self {
            outcome: Outcome::Timeout,
            status: "ERROR",
            detail: Some("no answer within the client's timeout".into()),
        }
    }

    /// A connection that was refused or broke.
    #[must_use]
    pub fn broken(error: &std::io::Error) -> Self {
        Self { outcome: Outcome::Other, status: "ERROR", detail: Some(format!("connection: {error}")) }
    }

    /// A reply that says it failed; `problem` is the last part of the type of its problem document.
    #[must_use]
    pub fn of_failure(code: u16, problem: Option<&str>) -> Self {
        let outcome = match (code, problem) {
            (429, _) | (503, Some("overloaded")) => Outcome::Overloaded,
            (503, _) => Outcome::Unavailable,
            (408 | 504, _) => Outcome::Timeout,
            (404, None | Some("not-found")) => Outcome::NotFound,
            _ => Outcome::Other,
        };
        let status = match code {
            400 => "BAD_REQUEST",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            429 | 503 => "SERVICE_UNAVAILABLE",
            501 => "NOT_IMPLEMENTED",
            _ => "ERROR",
        };
        let detail = problem.map_or_else(|| code.to_string(), |problem| format!("{code} {problem}"));
        Self { outcome, status, detail: Some(detail) }
    }
}
