#!/usr/bin/env bash
# How long operations take at 70 % of what three local nodes can do (factor 3, QUORUM, group sync, 64 connections). Needs jq.
#
#   bench/seventy.sh [ROUNDS]                       3 rounds by default, about four minutes
#
# A round is, for writes of 100 bytes, writes of 1 KiB and reads of 100 bytes: as fast as the clients get answers, then 70 %
# of that, due at fixed times. It prints the percentiles from when an operation was sent and from when it was due. The
# latter have in them that 64 connections are nearly all in use at that rate. A rate that is not reached, or an operation that
# fails, ends it with an error. Clients and nodes share the processors. The binaries are those in $BIN, if set.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
http_base=17680 peer_base=17780 records=20000

command -v jq >/dev/null || { echo "seventy.sh: jq is not installed" >&2; exit 1; }
if [[ -z ${BIN:-} ]]; then
  cargo build --release --quiet -p helenus-server --bin helenus -p helenus-bench --bin helenus-bench
  BIN=target/release
fi
directory=$(mktemp -d)
finish() {
  "$BIN/helenus" local down --wipe --dir "$directory/cluster" >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap finish EXIT

endpoints=$(for number in 1 2 3; do echo "http://127.0.0.1:$((http_base + number))"; done | paste -sd,)
# run PHASE LENGTH READS ARGUMENT...
run() {
  "$BIN/helenus-bench" "$1" -P config/workloads/workloada -p recordcount=$records -p fieldcount=1 -p fieldlength="$2" \
    -p readproportion="$3" -p updateproportion=$((1 - $3)) --consistency quorum --workers 1 --endpoints "$endpoints" \
    --json "$directory/run.json" "${@:4}" >"$directory/run.txt" 2>&1 || { cat "$directory/run.txt" >&2; exit 1; }
}
# round NAME LENGTH READS
round() {
  "$BIN/helenus" local up --dir "$directory/cluster" --http-base "$http_base" --peer-base "$peer_base" >/dev/null 2>&1
  run load "$2" 0 --threads 16
  run run "$2" "$3" --threads 64 --warmup 3s --duration 8s
  local peak
  peak=$(jq -r '.succeeded / .seconds | floor' "$directory/run.json")
  run run "$2" "$3" --threads 64 --warmup 3s --duration 15s --target $((peak * 7 / 10))
  jq -e --argjson rate $((peak * 7 / 10)) '.failed == 0 and .succeeded / .seconds > 0.98 * $rate' "$directory/run.json" >/dev/null ||
    { jq '{failed, succeeded, seconds}' "$directory/run.json" >&2; echo "seventy.sh: $1 not as many as were asked for" >&2; exit 1; }
  jq -r --arg name "$1" --arg peak "$peak" '.operations[] | select(.latency.count > 0)
    | [.latency.percentiles_us["50", "99", "99.9"], .intended.percentiles_us["99", "99.9"]] | map(. / 1000)
    | "\($name) peak \($peak)/s; at 70 %, ms: p50 \(.[0]) p99 \(.[1]) p99.9 \(.[2]); from when due p99 \(.[3]) p99.9 \(.[4])"' \
    "$directory/run.json"
  "$BIN/helenus" local down --wipe --dir "$directory/cluster" >/dev/null 2>&1
}
for ((number = 1; number <= rounds; number++)); do
  round "writes of 100 bytes:" 100 0
  round "writes of 1 KiB:" 1024 0
  round "reads of 100 bytes:" 100 1
done | tee "$directory/rounds"
# median NAME PATTERN: the middle of what the pattern finds in the lines of a name.
median() {
  grep "^$1" "$directory/rounds" | sed "s/.*$2 p99 \([0-9.]*\).*/\1/" | sort -n |
    awk '{ p99[NR] = $1 } END { print (p99[int((NR + 1) / 2)] + p99[int(NR / 2) + 1]) / 2 }'
}
for name in "writes of 100 bytes" "writes of 1 KiB" "reads of 100 bytes"; do
  echo "$name, $rounds rounds: median p99 $(median "$name" 'p50 [0-9.]*') ms; from when due $(median "$name" due) ms"
done
