//! A keep-alive connection.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    endpoint::Endpoint,
    reply::{Head, Reply},
};

/// A connection and what it has received.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    used: Instant,
}

impl Connection {
    pub(super) async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(16 << 10), used: Instant::now() })
    }

    /// Sends a request and receives its reply. After an error the connection is of no more use; dropped before the end,
    /// neither.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.input.clear();
        self.used = Instant::now();
        self.stream.write_all(request).await?;
        let mut head = None;
        loop {
            let is_closed = self.stream.read_buf(&mut self.input).await? == 0;
            if head.is_none() {
                head = Head::parse(&self.input)?;
            }
            if let Some(head) = &head
                && let Some(reply) = head.complete(&mut self.input, is_closed)?
            {
                return Ok(reply);
            }
            if is_closed {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed before the reply was whole",
                ));
            }
        }
    }

    /// Since it was opened, or last sent a request.
    pub(super) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// The body of the last reply.
    pub(super) fn body(&self, reply: &Reply) -> &[u8] {
        &self.input[reply.body.0..reply.body.1]
    }
}
