//! A raw HTTP/1.1 client that says exactly the bytes it is given, and waits for conditions with a deadline.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod scripted;
pub(crate) mod served_node;
pub(crate) mod single_node;

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No wait in these tests is meant to end by this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails a test that waits for what never comes.
pub(crate) async fn within_patience<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: still waiting after {PATIENCE:?}"))
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within_patience(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}

/// A reply as it came.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The only value of a header; empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map_or("", |(_, value)| value);
        assert!(values.next().is_none(), "{name} twice in {self:?}");
        value
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last part of a problem's type; empty if the reply is no problem.
    pub(crate) fn problem(&self) -> String {
        if self.header("content-type") != "application/problem+json" {
            return String::new();
        }
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        let kind = problem["type"].as_str().unwrap_or_default();
        kind.strip_prefix("/problems/").unwrap_or_default().to_owned()
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within_patience("connecting", TcpStream::connect(address)).await.unwrap();
        // The end of a large request must not wait for an acknowledgement.
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes as they are. A server that no longer listens is no failure: its reply tells.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = within_patience("sending", self.stream.write_all(bytes.as_ref())).await;
        self
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown().await;
        self
    }

    /// The next reply, with its body unless it is to HEAD or of a status that has none.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.next_reply(false).await
    }

    /// The next reply, to HEAD.
    pub(crate) async fn reply_to_head(&mut self) -> Reply {
        self.next_reply(true).await
    }

    async fn next_reply(&mut self, to_head: bool) -> Reply {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert!(self.receive().await, "no reply, only {:?}", String::from_utf8_lossy(&self.received));
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        if !to_head && status >= 200 && status != 304 {
            let length: usize = reply.header("content-length").parse().unwrap_or(0);
            while self.received.len() < length {
                assert!(self.receive().await, "the body broke off: {reply:?}");
            }
            reply.body = self.received.drain(..length).collect();
        }
        reply
    }

    /// Waits for the server to close; returns what it said before.
    pub(crate) async fn closed(&mut self) -> String {
        while self.receive().await {}
        String::from_utf8_lossy(&self.received).into_owned()
    }

    async fn receive(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.received);
        matches!(within_patience("receiving", read).await, Ok(1..))
    }
}

/// Sends one request on its own connection.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Reply {
    let to_head = request.as_ref().starts_with(b"HEAD ");
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.next_reply(to_head).await
}
