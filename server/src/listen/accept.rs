//! Accepting connections, and not more of them than agreed.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

use super::{
    REFUSALS_AT_ONCE,
    connection::{self, Served, Terms},
};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until the server winds down; the socket closes with it.
pub(super) async fn accept<S: Served>(socket: TcpListener, terms: Arc<Terms<S>>, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(terms.settings.max_connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = terms.ending.winding_down.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if concerns_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors or memory: a loop without a pause would only burn the processor.
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::select! {
                    () = terms.ending.winding_down.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        // Fails only on a connection that is already gone, which its first read finds out.
        let _ = stream.set_nodelay(true);
        let terms = Arc::clone(&terms);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tasks.spawn(connection::run(stream, terms, place));
        } else if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tasks.spawn(connection::turn_away(stream, terms, place));
        }
    }
}

/// Errors of `accept` that are about the connection it would have returned.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
