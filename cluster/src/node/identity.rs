//! Who this node is, kept in its own data directory. (skeleton)

use helenus_storage::Engine;

use crate::{
    membership::handshake::Greeting,
    node::StartError,
    node_id::{ClusterId, HostId},
    settings::Settings,
    time::WallClock,
};

/// The node's identity: drawn at the first start, loaded ever after; shared with the transport, which greets with
/// it.
#[derive(Debug)]
pub struct LocalIdentity {}

impl LocalIdentity {
    /// Loads the identity from the engine, or draws it from `seed` and stores it durably; advances the generation
    /// to `max(stored + 1, seconds since 1970)`, durably. The engine's steps must be driven meanwhile.
    ///
    /// # Errors
    /// When storage fails, or the data directory belongs to another cluster name or partitioner.
    pub async fn load_or_create(
        engine: &Engine,
        settings: &Settings,
        clock: &dyn WallClock,
        seed: u64,
    ) -> Result<Self, StartError> {
        let _ = (engine, settings, clock, seed);
        todo!()
    }

    /// Its host id.
    pub fn host_id(&self) -> HostId {
        todo!()
    }

    /// The greeting of the moment, for new connections.
    pub fn greeting(&self) -> Greeting {
        todo!()
    }

    /// The cluster it belongs to, once it does.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        todo!()
    }
}
