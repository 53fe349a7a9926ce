//! Ctrl-C: the first ends the load, whose result is told; the second ends the program.

use std::{
    io,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What shells say of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Whether the user has had enough.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let is_set = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut signals = {
            let _inside = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?
        };
        let interrupt = Self(Arc::clone(&is_set));
        thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(signals.recv());
            is_set.store(true, Ordering::Relaxed);
            eprintln!("\ninterrupted: waiting for what is under way; once more to leave at once");
            runtime.block_on(signals.recv());
            exit(INTERRUPTED);
        })?;
        Ok(interrupt)
    }

    /// Set once it was heard.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
