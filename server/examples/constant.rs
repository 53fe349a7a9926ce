//! The limit that `bench/http/compare.sh` measures against: an axum handler that returns a constant.
//!
//!     cargo run --release -p helenus-server --example constant -- 127.0.0.1:7979 1024

use axum::{Router, routing::any};
use bytes::Bytes;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7979".to_owned());
    let value_bytes: usize = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let value = Bytes::from(vec![b'x'; value_bytes]);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let answer = async move |body: Bytes| if body.is_empty() { value.clone() } else { Bytes::new() };
    axum::serve(listener, Router::new().fallback(any(answer))).await?;
    Ok(())
}
