//! The limit that `config/compare.toml` measures against: an axum server over a map in memory, bare of everything else.
//!
//!     cargo run --release -p helenus-server --example map -- 127.0.0.1:7979

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use bytes::Bytes;
use parking_lot::RwLock;

type Map = Arc<RwLock<HashMap<String, Bytes>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7979".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let routes = Router::new().route("/v1/kv/{table}/{key}", get(read).put(write)).with_state(Map::default());
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn read(State(map): State<Map>, Path((_, key)): Path<(String, String)>) -> Result<Bytes, StatusCode> {
    map.read().get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn write(State(map): State<Map>, Path((_, key)): Path<(String, String)>, value: Bytes) {
    map.write().insert(key, value);
}
