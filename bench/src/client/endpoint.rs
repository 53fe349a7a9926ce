//! Addresses of servers.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    num::NonZero,
};

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
        // An address of IPv6 has colons of its own.
        let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
        let with_port = match behind.rsplit_once(':') {
            None => format!("{authority}:80"),
            Some((_, port)) if is_port(port) => authority.to_owned(),
            Some((_, port)) => {
                return Err(fail(&format!("`{port}` is no port, which is a number from 1 to 65535")));
            }
        };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| fail(&error.to_string()))?;
        let address = addresses.next().ok_or_else(|| fail("the host has no address"))?;
        Ok(Self { authority: authority.to_owned(), address })
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<NonZero<u16>>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_is_named() {
        let port = |url: &str| Endpoint::resolve(url).map(|endpoint| endpoint.address.port());
        assert_eq!(port("http://127.0.0.1:7071").ok(), Some(7071));
        assert_eq!((port("http://127.0.0.1").ok(), port("http://[::1]").ok()), (Some(80), Some(80)));
        for bad in ["99999", "abc", "", "0", "+80"] {
            let why = port(&format!("http://127.0.0.1:{bad}")).expect_err("no port").to_string();
            assert!(why.contains(&format!("`{bad}` is no port")), "{why}");
        }
    }
}
