#!/usr/bin/env bash
# Builds the release binary and passes the arguments to `helenus local`: ./config/local-cluster.sh up
# The cluster lives in .helenus below the directory that this is called from (--dir names another).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

cargo build --release --locked --manifest-path "$repository/Cargo.toml" --package helenus-server --bin helenus >&2
target=${CARGO_TARGET_DIR:-$repository/target}
exec "$target/release/helenus" local "$@"
