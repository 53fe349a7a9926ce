//! The console: one page for people, without a build step and without a request to anywhere but the node that served it.
//!
//! ```text
//! page.html   what there is to see
//! style.css   how it looks: light and dark, from a phone's width on
//! feed.js     what the node says: reports as JSON, /metrics as text
//! ring.js     each datacenter's ring, drawn
//! charts.js   rates and percentiles of the last two minutes, drawn
//! page.js     which of it goes where, and the lookup of a key
//! ```
//!
//! It shows what the admin routes tell, of the node that it came from, and invents nothing: what it does not know it leaves
//! empty. So it is served where they are.

use std::sync::LazyLock;

use axum::response::{Html, IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};

/// Nothing comes from elsewhere, and nothing goes there.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let script = [
        include_str!("feed.js"),
        include_str!("ring.js"),
        include_str!("charts.js"),
        include_str!("page.js"),
    ];
    include_str!("page.html")
        .replace("/* style.css */", include_str!("style.css"))
        .replace("/* script */", &script.concat())
});

/// `GET /console`.
pub(crate) fn page() -> Response {
    let headers = [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
    (headers, Html(PAGE.as_str())).into_response()
}
