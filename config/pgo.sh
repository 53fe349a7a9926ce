#!/usr/bin/env bash
# Builds the release binary by a profile of itself at work (profile-guided optimisation), which takes less processor time
# for each request than what `cargo build --release` makes: nodes are built that count what they do, serve YCSB's
# workloads for a minute, and the compiler lays out the code by what they counted.
#
#   config/pgo.sh                   prints the path of the binary; needs `rustup component add llvm-tools`
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}
profiles=$target/pgo/profiles
http_base=17870 peer_base=17880
host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || { echo "pgo.sh: there is no $profdata: rustup component add llvm-tools" >&2; exit 1; }

# build NAME FLAG: with a target named, the flag is for the binary and not for what helps to build it.
build() {
  RUSTFLAGS="${RUSTFLAGS:-} $2" cargo build --release --locked --manifest-path "$repository/Cargo.toml" \
    --target "$host" --target-dir "$target/pgo/$1" --package helenus-server --bin helenus >&2
}
build counting "-Cprofile-generate=$profiles"
cargo build --release --locked --manifest-path "$repository/Cargo.toml" --package helenus-bench --bin helenus-bench >&2

rm -rf "$profiles"
work=$(mktemp -d)
counting=$target/pgo/counting/$host/release/helenus
finish() {
  "$counting" local down --wipe --dir "$work/cluster" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
"$counting" local up --dir "$work/cluster" --http-base "$http_base" --peer-base "$peer_base" >&2
endpoints=$(printf "http://127.0.0.1:%d," $((http_base + 1)) $((http_base + 2)) $((http_base + 3)))
# bench load|run WORKLOAD OPTION ...
bench() {
  "$target/release/helenus-bench" "$1" -P "$repository/config/workloads/$2" -p recordcount=20000 -p fieldcount=1 \
    --threads 64 --consistency quorum --endpoints "${endpoints%,}" "${@:3}" >&2
}
bench load workloada -p fieldlength=100
bench run workloada -p fieldlength=100 -p readproportion=0 -p updateproportion=1 --duration 20s
bench run workloadc --duration 15s
bench run workloada -p fieldlength=1000 --duration 15s
bench run workloade -p fieldlength=100 --duration 5s
# Each node writes what it counted as it ends.
"$counting" local down --wipe --dir "$work/cluster" >&2
"$profdata" merge --output="$target/pgo/merged.profdata" "$profiles"

build release "-Cprofile-use=$target/pgo/merged.profdata"
echo "$target/pgo/release/$host/release/helenus"
