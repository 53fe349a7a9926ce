//! The HTTP API: Cassandra's semantics in HTTP's conventions.
//!
//! ```text
//! listen ─▶ routes ─▶ the table below ─▶ edge ─▶ kv ─▶ key, parameters      what is asked
//!              └────── single keys ───────┘        │    body, envelope         what is to be stored
//!                                                  ▼
//!                                                Node::{read, write, scan}
//!                                                  │
//! listen ◀─ edge ◀─ problem ◀──────────────────────┴─── reply                  what is answered
//! ```
//!
//! - The process listens before its node has started, since a long log takes a while to replay: from then on `/livez`
//!   says that it lives, and what needs the node is answered 503 `starting`.
//! - Keys are taken from the raw path: the router's own decoding accepts broken escapes and refuses bytes that are
//!   not UTF-8.
//! - A handler fails with a [`problem`], which only the edge turns into a body.
//! - A `#` in a key is written `%23`. Hyper cuts a target at a raw one, so [`crate::listen`] looks for it in the bytes, and
//!   such a request is answered 400 before it gets here.
//! - Unknown parameters and unknown headers named `Helenus-…` are refused, since a misspelt one would change nothing in
//!   silence. `Helenus-Meta-*` is the client's own.
//!
//! Reading order: this page, [`routes`], [`kv`], [`key`], [`query`], [`parameters`], [`path_part`], [`body`], [`envelope`], [`session`],
//! [`reply`], [`problem`], [`edge`], [`unread`], [`origin`], [`coordinate`], [`begun`]; then [`scan`], [`batch`], [`tables`], [`health`], [`metrics`], [`reports`], [`replicas`],
//! [`tasks`], [`upkeep`], [`settings`], [`admin`], [`openapi`].

mod admin;
mod batch;
mod begun;
mod body;
mod coordinate;
mod edge;
pub(crate) mod envelope;
mod handoff;
mod health;
mod key;
mod kv;
mod metrics;
mod openapi;
mod origin;
mod parameters;
mod path_part;
pub(crate) mod problem;
mod query;
mod replicas;
mod reply;
mod reports;
mod routes;
mod scan;
mod session;
mod settings;
mod tables;
mod tasks;
mod unread;
mod upkeep;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    middleware::from_fn_with_state,
    response::Response,
    routing::{any, delete, get, post, put},
};
use helenus_cluster::{error::RequestError, time::WallClock};
use hyper::{Uri, header::HeaderValue};
use parking_lot::Mutex;
use tokio::time::{self, timeout};
use tokio_util::task::TaskTracker;

use self::{
    begun::Begun,
    body::Bodies,
    edge::Numbers,
    problem::{Access, Kind, Problem},
};
pub use self::{
    coordinate::{Coordinate, Outcomes},
    routes::Routes,
    settings::{Controls, Obey},
};
use crate::{admission::Door, console, listen::Refuse, tasks::Tasks, telemetry::Metrics};

/// Bounds of requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest value.
    pub max_value_bytes: usize,
    /// Bytes of request bodies that may be held at once, all connections together.
    pub body_bytes_in_flight: usize,
    /// How long the next piece of a body may take.
    pub body_stall_timeout: Duration,
    /// How fast a body must arrive, once the time of `body_stall_timeout` is used up.
    pub body_min_bytes_per_second: u32,
    /// Longest path and query together. The longest key, with every byte escaped, must fit.
    pub max_target_bytes: usize,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Names and values of all headers together.
    pub max_header_bytes: usize,
    /// Requests at once while the processors have no time for more.
    pub requests_when_busy: usize,
    /// How long others may wait for their turn then.
    pub wait_when_busy: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_value_bytes: 1 << 20,
            body_bytes_in_flight: 64 << 20,
            body_stall_timeout: Duration::from_secs(10),
            body_min_bytes_per_second: 1024,
            max_target_bytes: 16 << 10,
            max_headers: 64,
            max_header_bytes: 16 << 10,
            requests_when_busy: 128,
            wait_when_busy: Duration::from_millis(500),
        }
    }
}

/// What the routes need.
pub struct Api {
    /// Absent while the node is starting.
    at_work: OnceLock<AtWork>,
    /// For what the start waits.
    starting: Mutex<String>,
    clock: Arc<dyn WallClock>,
    metrics: Arc<Metrics>,
    /// Requests of clients from their head to their reply; closed once no more begin.
    begun: TaskTracker,
    limits: Limits,
    door: Arc<Door>,
    bodies: Bodies,
    numbers: Numbers,
    started: Instant,
    tasks: Tasks,
    /// Absent in a process that cannot be changed while it runs.
    controls: OnceLock<Controls>,
}

/// A started node.
struct AtWork {
    node: Arc<dyn Coordinate>,
    /// Its host id, as a header.
    coordinator: HeaderValue,
}

impl Api {
    /// Over a node that is still starting: until [`Api::begin`], what needs it is answered `starting`. `seed` feeds
    /// the ids of requests and the keys that the server chooses; it must differ from one start to the next.
    pub fn starting(
        clock: Arc<dyn WallClock>,
        metrics: Arc<Metrics>,
        limits: Limits,
        seed: u64,
    ) -> Arc<Self> {
        let bodies = Bodies::new(&limits);
        let numbers = Numbers::from_seed(seed);
        Arc::new(Self {
            at_work: OnceLock::new(),
            starting: Mutex::new("its storage is not open yet".to_owned()),
            clock,
            metrics,
            begun: TaskTracker::new(),
            door: Door::new(limits.requests_when_busy, limits.wait_when_busy),
            limits,
            bodies,
            numbers,
            started: Instant::now(),
            tasks: Tasks::default(),
            controls: OnceLock::new(),
        })
    }

    /// For what the start waits now.
    pub fn starting_for(&self, why: String) {
        *self.starting.lock() = why;
    }

    /// From now on the node answers. A second node changes nothing.
    pub fn begin(&self, node: Arc<dyn Coordinate>) {
        let coordinator = HeaderValue::from_str(&node.host_id().to_string()).expect("a UUID has only ASCII");
        self.at_work.get_or_init(|| AtWork { node, coordinator });
    }

    /// Lets operators change what can be changed. A second call changes nothing.
    pub fn control(&self, controls: Controls) {
        // One is as good as the other.
        let _ = self.controls.set(controls);
    }

    /// The node, for work that goes on without its request.
    fn shared_node(&self) -> Result<Arc<dyn Coordinate>, Problem> {
        self.node()?;
        let at_work = self.at_work.get().map(|at_work| Arc::clone(&at_work.node));
        at_work.ok_or_else(|| Problem::new(Kind::Starting, "the node is starting"))
    }

    /// The node, if it has started.
    fn node(&self) -> Result<&dyn Coordinate, Problem> {
        let starting =
            || Problem::new(Kind::Starting, format!("the node is starting: {}", self.starting.lock()));
        self.at_work.get().map(|at_work| &*at_work.node).ok_or_else(starting)
    }

    /// The node, for a request that it would carry out.
    fn node_for(&self, access: Access) -> Result<&dyn Coordinate, Problem> {
        self.node().map_err(|problem| problem.not_sent(access))
    }

    /// The node, for a request of a client that begins now.
    fn begin_request(&self, access: Access) -> Result<Begun<'_>, Problem> {
        let node = self.node_for(access)?;
        // Taken before the look: a drain either waits for it, or is seen by it.
        let place = self.begun.token();
        if self.begun.is_closed() {
            return Err(Problem::of_request(&RequestError::Draining, access));
        }
        Ok(Begun::new(node, place))
    }

    /// As [`Api::begin_request`], for one that costs the node time; an overloaded one has none, and says so before
    /// anything is read.
    fn begin_request_with_room(&self, access: Access) -> Result<Begun<'_>, Problem> {
        let begun = self.begin_request(access)?;
        if begun.node.has_room() {
            return Ok(begun);
        }
        let why = RequestError::Overloaded("too many requests are under way");
        Err(Problem::of_request(&why, access))
    }

    /// A request that is all here goes on when it has its turn, unless its client has less patience than that takes.
    async fn await_turn<'a>(
        &self,
        begun: Begun<'a>,
        access: Access,
        patience: Option<Duration>,
    ) -> Result<Begun<'a>, Problem> {
        let _waiting = self.metrics.waiting();
        let since = time::Instant::now();
        let turn = self.door.enter();
        let pass = match patience {
            Some(patience) => timeout(patience, turn).await.ok().flatten(),
            None => turn.await,
        };
        let why = RequestError::Overloaded("too many requests wait for the processors");
        pass.map(|pass| begun.with(pass, since)).ok_or_else(|| Problem::of_request(&why, access))
    }

    /// Follows how busy the threads of the runtime are that this runs on, for ever: while they have no time left, requests
    /// take turns.
    pub async fn watch_load(self: Arc<Self>) {
        Arc::clone(&self.door).watch().await;
    }

    /// The requests of clients that have begun. Once it is closed, no more begin.
    pub fn begun(&self) -> TaskTracker {
        self.begun.clone()
    }

    /// Answers connections that are refused before they have a request.
    pub fn refuse(self: &Arc<Self>) -> Refuse {
        let api = Arc::clone(self);
        Arc::new(move |refusal| edge::refuse(&api, refusal))
    }
}

/// Which routes a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Those of clients.
    Client,
    /// Those of operators.
    Admin,
    /// Both, on one listener.
    Both,
}

/// The routes of a listener.
pub fn router(api: &Arc<Api>, surface: Surface) -> Routes {
    Routes { api: Arc::clone(api), table: table(api, surface), has_keys: surface != Surface::Admin }
}

/// The URL table.
fn table(api: &Arc<Api>, surface: Surface) -> Router {
    let document = openapi::document(surface);
    let mut routes = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/version", get(health::version))
        .route("/openapi.json", get(|uri: Uri| openapi::page(uri, document)))
        .route("/metrics", get(metrics::page));
    if surface == Surface::Admin {
        routes = routes.route("/v1/{*operation}", any(admin::for_clients));
    } else {
        let item = || put(kv::put).post(kv::put).get(kv::get).delete(kv::delete);
        routes = routes
            .route("/v1/kv/", any(kv::without_table))
            .route("/v1/kv//{*key}", any(kv::without_table))
            .route("/v1/kv/{table}", post(kv::create).get(scan::page))
            .route("/v1/kv/{table}/", item())
            .route("/v1/kv/{table}/{*key}", item())
            .route("/v1/batch", post(batch::run))
            .route("/v1/tables", get(tables::list))
            .route("/v1/tables/", any(tables::without_table))
            .route(
                "/v1/tables/{table}",
                get(tables::describe).put(tables::define).delete(tables::drop_table),
            );
    }
    routes = match surface {
        Surface::Client => routes
            .route("/admin/v1/{*operation}", any(admin::elsewhere))
            .route("/console", any(admin::elsewhere)),
        Surface::Admin | Surface::Both => routes
            .route("/console", get(console_page))
            .route("/admin/v1/replicas/{table}/{*key}", get(replicas::look_up))
            .route("/admin/v1/status", get(reports::status))
            .route("/admin/v1/ring", get(reports::ring))
            .route("/admin/v1/info", get(reports::info))
            .route("/admin/v1/describe-cluster", get(reports::describe_cluster))
            .route("/admin/v1/gossip-info", get(reports::gossip))
            .route("/admin/v1/failure-detector", get(reports::failure_detector))
            .route("/admin/v1/assassinate/{host_id}", post(admin::assassinate))
            .route("/admin/v1/endpoints/{table}/{*key}", get(reports::endpoints))
            .route("/admin/v1/table-stats", get(reports::tables))
            .route("/admin/v1/compaction-stats", get(reports::compactions))
            .route("/admin/v1/histograms", get(reports::histograms))
            .route("/admin/v1/histograms/{table}", get(reports::table_histograms))
            .route("/admin/v1/settings", get(settings::list))
            .route("/admin/v1/settings/{name}", put(settings::change).delete(settings::reset))
            .route("/admin/v1/log-level", get(settings::log_level).put(settings::set_log_level))
            .route("/admin/v1/tasks", get(tasks::list))
            .route("/admin/v1/tasks/{id}", get(tasks::get).delete(tasks::cancel))
            .route("/admin/v1/drain", post(upkeep::drain))
            .route("/admin/v1/flush", post(upkeep::flush))
            .route("/admin/v1/compact", post(upkeep::compact))
            .route("/admin/v1/hints", get(reports::hints).delete(handoff::truncate))
            .route("/admin/v1/hints/marks", delete(handoff::forget_marks))
            .route("/admin/v1/hints/pause", post(handoff::pause))
            .route("/admin/v1/hints/resume", post(handoff::resume))
            .route("/admin/v1/scrub", post(upkeep::scrub))
            .route("/admin/v1/snapshots", get(upkeep::list_snapshots))
            .route("/admin/v1/snapshots/{name}", post(upkeep::make_snapshot).delete(upkeep::clear_snapshot)),
    };
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(api), edge::layer))
        .with_state(Arc::clone(api))
}

async fn console_page(uri: Uri) -> Result<Response, Problem> {
    query::none(uri.query())?;
    Ok(console::page())
}

async fn no_such_route(uri: Uri) -> Problem {
    Problem::new(Kind::NoSuchRoute, format!("there is no route {}", uri.path()))
}

async fn no_such_method() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "the header `Allow` lists the methods of this route")
}
