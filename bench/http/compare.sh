#!/usr/bin/env bash
# Requests per second of three local nodes (factor 3, group sync) beside an axum handler that returns a constant:
# the same load generator, values and connections, in turn, so that only the ratio counts. Needs wrk.
#
#   bench/http/compare.sh [ROUNDS] [SECONDS]        medians of 3 rounds of 5 s each by default
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3} seconds=${2:-5}
keys=20000 value_bytes=1024 connections=64 threads=3
http_base=17470 peer_base=17570 constant=127.0.0.1:17479

command -v wrk >/dev/null || { echo "compare.sh: wrk is not installed" >&2; exit 1; }
cargo build --release --quiet -p helenus-server --bin helenus --example constant
helenus=target/release/helenus
directory=$(mktemp -d)
target/release/examples/constant "$constant" "$value_bytes" &
constant_pid=$!
finish() {
  kill "$constant_pid" || true
  "$helenus" local down --wipe --dir "$directory/cluster" >/dev/null || true
  rm -rf "$directory"
}
trap finish EXIT
"$helenus" local up --dir "$directory/cluster" --http-base "$http_base" --peer-base "$peer_base" >/dev/null 2>&1

# drive FIRST-ADDRESS OPERATION LEVEL [ADDRESS ...]
drive() {
  wrk -t"$threads" -c"$connections" -d"${seconds}s" -s bench/http/nodes.lua "http://$1" \
    -- "$2" "$keys" "$value_bytes" "$3" "${@:4}" | sed -n 's/^RESULT //p'
}
nodes=("127.0.0.1:$((http_base + 1))" "127.0.0.1:$((http_base + 2))" "127.0.0.1:$((http_base + 3))")
cpu_seconds() { # user + system seconds of the three nodes so far
  cat "$directory"/cluster/node*/pid | awk 'NR % 2 == 1' | while read -r pid; do cut -d' ' -f14,15 "/proc/$pid/stat"; done |
    awk -v hz="$(getconf CLK_TCK)" '{ sum += $1 + $2 } END { print sum / hz }'
}

echo "loading $keys keys of $value_bytes bytes"
drive "${nodes[0]}" load quorum "${nodes[@]}"
for round in $(seq "$rounds"); do
  for level in quorum one; do
    for operation in put get; do
      before=$(cpu_seconds)
      result=$(drive "${nodes[0]}" "$operation" "$level" "${nodes[@]}")
      cpu=$(awk -v a="$before" -v b="$(cpu_seconds)" -v s="$seconds" 'BEGIN { printf "%.2f", (b - a) / s }')
      echo "helenus $operation $level|$result|node CPUs $cpu"
    done
  done
  for operation in put get; do
    echo "constant $operation|$(drive "$constant" "$operation" one)|"
  done
done | tee "$directory/results"

echo
echo "medians of requests/s, and their share of the constant's"
median() { sed -n "s/^$1|\([0-9]*\).*/\1/p" "$directory/results" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
for operation in put get; do
  limit=$(median "constant $operation")
  printf '%-22s %8d\n' "constant $operation" "$limit"
  for level in quorum one; do
    rate=$(median "helenus $operation $level")
    printf '%-22s %8d  %5.1f %%\n' "helenus $operation $level" "$rate" "$(awk -v a="$rate" -v b="$limit" 'BEGIN { print 100 * a / b }')"
  done
done
