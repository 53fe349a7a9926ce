#!/usr/bin/env bash
# What the load generator itself can drive: GETs of an axum handler that returns a constant, by helenus-bench and by wrk
# with as many connections, one thread each, in turn, so that only the ratio counts. Needs wrk.
#
#   bench/http/generator.sh [ROUNDS] [SECONDS]        medians of 5 rounds of 4 s each by default
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-4}
connections=64 value_bytes=1024 address=127.0.0.1:17489

command -v wrk >/dev/null || { echo "generator.sh: wrk is not installed" >&2; exit 1; }
cargo build --release --quiet -p helenus-server --example constant
cargo build --release --quiet -p helenus-bench
binaries=${CARGO_TARGET_DIR:-target}/release
results=$(mktemp)
"$binaries/examples/constant" "$address" "$value_bytes" &
constant_pid=$!
trap 'kill "$constant_pid"; rm -f "$results"' EXIT
until (exec 3<>"/dev/tcp/${address/:/\/}") 2>/dev/null; do sleep 0.1; done

for round in $(seq "$rounds"); do
  wrk=$(wrk -t1 -c"$connections" -d"${seconds}s" "http://$address/v1/kv/usertable/user1" | awk '/^Requests\/sec/ { print $2 }')
  ours=$("$binaries/helenus-bench" run -P config/workloads/workloadc -p recordcount=100000 --threads "$connections" --workers 1 \
    --warmup 500ms --duration "${seconds}s" --endpoints "http://$address" --format ycsb 2>/dev/null |
    awk -F', ' '/Throughput/ { print $3 }')
  awk -v round="$round" -v wrk="$wrk" -v ours="$ours" \
    'BEGIN { printf "round %d: wrk %d/s, helenus-bench %d/s, ratio %.2f\n", round, wrk, ours, ours / wrk }'
done | tee "$results"
sed 's/.*ratio //' "$results" | sort -n | awk '{ v[NR] = $1 } END { print "median ratio " v[int((NR + 1) / 2)] }'
