//! What the kernel is told of a connection between two nodes.

use std::{io, time::Duration};

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Sends small frames at once, and gives the connection up once the other machine has been silent for `silence`.
///
/// A machine that lost its power sends no reset. Keepalive probes notice it on an idle connection, the user timeout
/// on one with bytes under way (probes are not sent then). Neither notices a paused process, whose kernel still
/// acknowledges; the deadlines of calls do.
pub(super) fn prepare(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    let silence = silence.max(Duration::from_secs(2));
    stream.set_nodelay(true)?;
    sockopt::set_tcp_keepidle(stream, silence / 2)?;
    sockopt::set_tcp_keepintvl(stream, (silence / 4).max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepcnt(stream, 2)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, u32::try_from(silence.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}
