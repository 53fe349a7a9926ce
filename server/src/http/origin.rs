//! Pages of other sites change nothing here.
//!
//! A browser sends a form or a `text/plain` body wherever a page wants, with no leave of whoever is asked, and this API knows
//! no passwords: any page that an operator looks at could drop a table of the node on the same machine. Browsers say where
//! such a request comes from (`Origin`, Fetch standard, section 3.1; `Sec-Fetch-Site`, W3C Fetch Metadata), other clients say
//! nothing and are let in. A page under a name that was made to mean this node's address (DNS rebinding) is of the same
//! origin, and told by that name: so pages that change something are asked for by address, or as `localhost`.
//!
//! What only reads is not judged: a browser shows its answer to no page of another origin. To a rebound name it would.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method,
    header::{HOST, ORIGIN},
};

use super::problem::{Access, Kind, Problem};

const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request that would change something, if a page asks for it that is not of this node.
///
/// # Errors
/// 403, naming the header that says so.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    // More than one is sent by no browser: each must be fine.
    if headers.get_all(FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none") {
        return Err(refused("Sec-Fetch-Site", "`Sec-Fetch-Site` says that a page of another site asks"));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if !origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host)) {
            let detail = format!("`Origin` names a page of another origin than this one, {host}");
            return Err(refused("Origin", &detail));
        }
        if !is_never_rebound(host) {
            let detail = "`Host` is a name, which may have been made to mean this node: ask by address, or as localhost";
            return Err(refused("Host", detail));
        }
    }
    Ok(())
}

/// Whether a host, with its port, means what it says without asking the DNS.
fn is_never_rebound(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn refused(header: &str, why: &str) -> Problem {
    let detail = format!(
        "{why}; what changes something is asked without that header, as curl does, or by the node's own page"
    );
    Problem::new(Kind::CrossOrigin, detail).about(header).not_sent(Access::Write)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    /// The header that a POST is refused for.
    fn field(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value): (hyper::header::HeaderName, HeaderValue)| {
            map.append(name, value);
        });
        check(&Method::POST, &map).err().and_then(|problem| problem.field)
    }

    #[test]
    fn only_pages_of_the_node_itself_change_something() {
        let own = "127.0.0.1:7071";
        for (origin, refused) in [
            ("http://127.0.0.1:7071", None),
            ("https://127.0.0.1:7071", None),
            ("http://127.0.0.1:7072", Some("Origin")),
            ("http://127.0.0.1", Some("Origin")),
            ("https://evil.example", Some("Origin")),
            ("null", Some("Origin")),
            ("", Some("Origin")),
        ] {
            assert_eq!(field(&[("host", own), ("origin", origin)]).as_deref(), refused, "{origin}");
        }
        assert_eq!(field(&[("host", own)]), None, "curl");
        for (site, refused) in [
            ("same-origin", None),
            ("none", None),
            ("same-site", Some("Sec-Fetch-Site")),
            ("cross-site", Some("Sec-Fetch-Site")),
        ] {
            assert_eq!(field(&[("host", own), ("sec-fetch-site", site)]).as_deref(), refused, "{site}");
        }
        let twice = [("host", own), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert_eq!(field(&twice).as_deref(), Some("Sec-Fetch-Site"), "all that is said counts");
        let cross = [("host", own), ("origin", "https://evil.example")];
        let headers = cross.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert!(
            check(&Method::GET, &headers.into_iter().collect()).is_ok(),
            "reading is the browser's to forbid"
        );
    }

    #[test]
    fn a_name_that_may_have_been_rebound_is_no_origin_of_ours() {
        for host in ["localhost", "LocalHost:7071", "127.0.0.1", "10.0.0.7:7071", "[::1]:7071", "[::1]"] {
            assert_eq!(field(&[("host", host), ("origin", &format!("http://{host}"))]), None, "{host}");
        }
        for host in ["evil.example:7071", "localhost.evil.example", "127.0.0.1.nip.io:7071", "n1:7071"] {
            let headers = [("host", host), ("origin", &*format!("http://{host}"))];
            assert_eq!(field(&headers).as_deref(), Some("Host"), "{host}");
        }
        assert_eq!(field(&[("host", "n1:7071")]), None, "who is no page may use names");
    }
}
