//! Values with a form of their own: sizes, durations, addresses.

use std::{fmt, str::FromStr, time::Duration};

use serde_json::json;

use super::value::{Complaint, Item, Raw, Value};

/// A number of bytes: `512KiB`, `32MiB`, `100MB`, or a bare number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// That many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(super) const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub(super) const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub(super) const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes, for what lives in memory. Every size setting has an upper bound below what 64 bits address, so
    /// nothing is lost on such a machine; on a smaller one it saturates.
    pub fn bytes_in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    /// Exact, with the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            bytes if bytes % (1 << 30) == 0 => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

impl Value for Size {
    fn read(item: &Item) -> Result<Self, Complaint> {
        const WHAT: &str = "a size with its unit, such as \"512KiB\" or \"32MiB\"";
        match &item.raw {
            Raw::Integer(bytes) => u64::try_from(*bytes).map(Self).map_err(|_| item.expected(WHAT)),
            Raw::Text(text) | Raw::String(text) => bytesize::ByteSize::from_str(text.trim())
                .map(|size| Self(size.as_u64()))
                .map_err(|_| item.complain(format!("expected {WHAT}, found `{text}`"))),
            _ => Err(item.expected(WHAT)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

/// A duration with its unit: `500ms`, `2s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    pub(super) const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    pub(super) const fn secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Value for Period {
    fn read(item: &Item) -> Result<Self, Complaint> {
        const WHAT: &str = "a duration with its unit, such as \"500ms\", \"5s\" or \"2m\"";
        let text = item.text(WHAT)?;
        let duration = humantime::parse_duration(text.trim());
        duration.map(Self).map_err(|_| item.complain(format!("expected {WHAT}, found `{text}`")))
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

/// `host:port`; the host is a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address; write host:port, such as 10.0.0.1:7171");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_is_fine = if bracketed {
            host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let port_is_fine = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        match port.parse() {
            Ok(port) if host_is_fine && port_is_fine => Ok(Self { host: host.to_owned(), port }),
            _ => Err(wrong()),
        }
    }
}

impl Value for Address {
    fn read(item: &Item) -> Result<Self, Complaint> {
        item.text("an address, host:port")?.trim().parse().map_err(|what: String| item.complain(what))
    }

    fn json(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}
