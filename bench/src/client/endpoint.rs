//! Addresses of servers.

use std::net::{SocketAddr, ToSocketAddrs};

/// Why a text is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {text}: {why}")]
pub struct BadEndpoint {
    text: String,
    why: String,
}

/// A server's address, resolved once.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`, as requests name it.
    pub authority: String,
    /// Where to connect.
    pub address: SocketAddr,
}

impl Endpoint {
    /// Parses `http://host[:port]` and resolves it.
    ///
    /// # Errors
    /// If it is not such a URL, or its host is unknown.
    pub fn resolve(text: &str) -> Result<Self, BadEndpoint> {
        let fail = |why: &str| BadEndpoint { text: text.to_owned(), why: why.to_owned() };
        let rest = text.strip_prefix("http://").ok_or_else(|| fail("expected http://host:port"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) || !authority.is_ascii() {
            return Err(fail("expected http://host:port and nothing more"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| fail(&error.to_string()))?;
        let address = addresses.next().ok_or_else(|| fail("the host has no address"))?;
        Ok(Self { authority: authority.to_owned(), address })
    }
}
