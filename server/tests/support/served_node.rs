//! A real node behind its HTTP API, and the program beside it.

use std::{
    net::SocketAddr,
    process::{Command, Output},
    sync::Arc,
};

use helenus_server::http::Surface;

use super::{
    Reply, ask,
    scripted::{Served, serve},
    single_node::SingleNode,
};

/// A node that serves clients and operators.
pub(crate) struct ServedNode {
    pub(crate) node: SingleNode,
    served: Served,
}

impl ServedNode {
    pub(crate) async fn start() -> Self {
        let node = SingleNode::start().await;
        let served = serve(Arc::clone(&node.node) as _, Surface::Both).await;
        Self { node, served }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> Reply {
        self.ask_with(method, target, &[], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        self.ask_as("h", method, target, headers, body).await
    }

    /// Asks by another name of the host.
    pub(crate) async fn ask_as(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let length = body.len();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        ask(self.address(), head + body).await
    }

    /// Runs the program against the node.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
        command.args(arguments).env("HELENUS_ENDPOINT", format!("http://{}", self.address()));
        let ran = tokio::task::spawn_blocking(move || command.output().expect("the binary starts"));
        ran.await.expect("it does not panic")
    }

    /// Runs the program, which must succeed; its standard output.
    pub(crate) async fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the program prints text")
    }
}
