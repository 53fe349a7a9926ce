//! A real node, alone, on a real disk: what most of the API's promises are tested against.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use helenus_cluster::{
    message::{Message, Request, Response},
    node::{
        Node, Parts, Readiness, Spawners,
        identity::LocalIdentity,
        transport::{CallError, Destination, Transport},
    },
    settings::Settings,
    time::SystemClock,
};
use helenus_storage::{Engine, Options, background::Background, disk::OsDisk};
use tempfile::TempDir;
use tokio::{runtime::Handle, time::Instant};

use super::eventually;

/// The way to nowhere.
#[derive(Debug)]
struct Alone;

impl Transport for Alone {
    fn call(
        &self,
        to: &Destination,
        _: Message<Request>,
        _: Instant,
    ) -> BoxFuture<'static, Result<Message<Response>, CallError>> {
        let address = to.address.clone();
        Box::pin(async { Err(CallError::Unreachable { address, reason: "there is no network".to_owned() }) })
    }
}

/// A node and what it stands on.
pub(crate) struct SingleNode {
    pub(crate) node: Arc<Node>,
    pub(crate) engine: Arc<Engine>,
    background: Option<Background>,
    pub(crate) directory: TempDir,
}

impl SingleNode {
    /// Starts one and waits until it serves.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        let engine = Arc::new(Engine::open(Arc::new(OsDisk), directory.path(), options).unwrap());
        let background = Some(Background::start(Arc::clone(&engine)).unwrap());
        let settings = Settings::default();
        let identity = LocalIdentity::load_or_create(&engine, &settings, &SystemClock, 1).await.unwrap();
        let node = Node::start(Parts {
            settings,
            identity: Arc::new(identity),
            engine: Arc::clone(&engine),
            transport: Arc::new(Alone),
            clock: Arc::new(SystemClock),
            seed: 1,
            spawners: Spawners { requests: Handle::current(), membership: Handle::current() },
            inline_reads: false,
        })
        .await
        .unwrap();
        eventually("the node serves", || node.readiness() == Readiness::Ready).await;
        Self { node, engine, background, directory }
    }
}

impl Drop for SingleNode {
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            background.stop();
        }
        let _ = self.engine.close();
    }
}
