//! The threads that loop on [`Engine::step`](crate::Engine::step) in production.

use std::sync::Arc;

use crate::engine::Engine;

/// One thread per kind of work, until [`Background::stop`].
#[derive(Debug)]
pub struct Background {}

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let _ = engine;
        todo!()
    }

    /// Lets each thread finish its piece, joins them. Does not close the engine.
    pub fn stop(self) {
        todo!()
    }
}
