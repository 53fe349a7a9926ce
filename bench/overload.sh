#!/usr/bin/env bash
# What becomes of three local nodes (factor 3, QUORUM, group sync) when ten times as much is asked of them as they can do:
# goodput beside the peak, memory, convictions, how soon refusals come, and the latencies before and after. Needs jq.
#
#   bench/overload.sh [SECONDS] [TIMES] [ROUNDS]    10 s of overload, ten times the peak, 5 rounds by default, about 5 minutes
#
# Each step is a run of helenus-bench, half reads and half updates of 1-KiB values, with one thread of clients:
#   peak      as fast as 64 clients get answers; also after the last round, since a machine is not always equally fast, and
#             goodput is told beside the mean of the two peaks around it
#   before    half of the peak, operations due at fixed times
#   overload  TIMES the peak, due at fixed times, of 3,000 clients that wait a second for each answer; the time that
#             these take to connect is part of it
#   after     half of the peak again, from ten seconds after the overload on
# Where there is more than one processor the last one is the clients', so that they do not take what the nodes need. The
# binaries are those in $BIN, if set.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10} times=${2:-10} rounds=${3:-5}
clients=${CLIENTS:-3000} patience=${PATIENCE:-1s} recovery=10s records=10000
http_base=17480 peer_base=17580

command -v jq >/dev/null || { echo "overload.sh: jq is not installed" >&2; exit 1; }
if [[ -z ${BIN:-} ]]; then
  cargo build --release --quiet -p helenus-server --bin helenus -p helenus-bench --bin helenus-bench
  BIN=target/release
fi
directory=$(mktemp -d)
last=$(($(nproc) - 1))
of_nodes=() of_clients=()
if ((last > 0)) && command -v taskset >/dev/null; then
  of_nodes=(taskset -c "0-$((last - 1))") of_clients=(taskset -c "$last")
fi
sampler= prober=
finish() {
  for pid in $sampler $prober; do kill "$pid" 2>/dev/null || true; done
  "$BIN/helenus" local down --wipe --dir "$directory/cluster" >/dev/null || true
  rm -rf "$directory"
}
trap finish EXIT
"${of_nodes[@]}" "$BIN/helenus" local up --dir "$directory/cluster" --http-base "$http_base" --peer-base "$peer_base" >/dev/null 2>&1

endpoints=()
for number in 1 2 3; do endpoints+=("http://127.0.0.1:$((http_base + number))"); done
# run NAME PHASE ARGUMENT...
run() {
  "${of_clients[@]}" "$BIN/helenus-bench" "$2" -P config/workloads/workloada -p recordcount=$records -p fieldcount=1 \
    -p fieldlength=1024 --consistency quorum --workers 1 --endpoints "$(IFS=,; echo "${endpoints[*]}")" \
    --json "$directory/$1.json" "${@:3}" >"$directory/$1.txt" 2>&1 || { cat "$directory/$1.txt" >&2; exit 1; }
}
# The largest resident memory of the nodes, MiB.
resident() {
  cat "$directory"/cluster/node*/pid | awk 'NR % 2 == 1 { print "/proc/" $1 "/status" }' |
    xargs awk '/^VmRSS/ { if ($2 > most) most = $2 } END { printf "%d", most / 1024 }'
}
# The sum over the nodes of the samples whose names begin with $1.
counted() {
  for endpoint in "${endpoints[@]}"; do curl -s -m 30 "$endpoint/metrics"; done |
    awk -v name="$1" 'index($0, name) == 1 { sum += $2 } END { print sum + 0 }'
}
latencies() { # NAME
  jq -r '.operations[] | select(.intended.count > 0) | "  \(.operation): p50 \(.intended.percentiles_us."50" / 1000) ms, p99 \(.intended.percentiles_us."99" / 1000) ms, p99.9 \(.intended.percentiles_us."99.9" / 1000) ms"' \
    "$directory/$1.json"
}
p99() { jq '[.operations[] | select(.intended.count > 0) | .intended.percentiles_us."99"] | max / 1000' "$directory/$1.json"; }
# The middle of numbers, one a line.
median() { sort -n | awk '{ number[NR] = $1 } END { print (number[int((NR + 1) / 2)] + number[int(NR / 2) + 1]) / 2 }'; }
rate() { jq -r '.succeeded / .seconds | floor' "$directory/$1.json"; }
failed() { jq -r '.failed' "$directory/$1.json"; }

# What nodes count of the requests that they gave up.
given_up=(helenus_coordinator_unsent_requests_total helenus_replica_dropped_requests_total)
# All steps once. Notes the peak and the goodput in overloads, the latencies in befores and afters.
round() {
  run peak run --threads 64 --warmup 3s --duration 10s
  local peak half convictions name
  local -A counts
  peak=$(rate peak)
  half=$((peak / 2))
  run before run --threads 64 --target "$half" --warmup 3s --duration 10s
  convictions=$(counted helenus_convictions_total)
  for name in "${given_up[@]}"; do counts[$name]=$(counted "$name"); done
  echo "peak      $peak operations/s, resident memory of the largest node $(resident) MiB"
  echo "before    $(rate before) operations/s of $half asked for, $(failed before) failed"
  latencies before

  while sleep 1; do resident; echo; done >"$directory/resident" &
  sampler=$!
  # One who asks now and then, over a connection of its own: what a client finds that does not insist.
  while sleep 0.2; do
    curl -s -o /dev/null -m 5 -w '%{http_code} %{time_total}\n' -X PUT --data-binary x "${endpoints[0]}/v1/kv/usertable/probe?consistency=quorum" || true
  done >"$directory/probes" &
  prober=$!
  run overload run --threads "$clients" --target "$((peak * times))" --timeout "$patience" --duration "${seconds}s"
  kill "$sampler" "$prober"
  sampler= prober=
  echo "overload  $(rate overload) operations/s of $((peak * times)) asked for"
  jq -r '.seconds as $seconds | "  refused or failed: \(.failed / $seconds | floor) per second",
    (.operations[] | .operation as $operation | "  \($operation): answered p50 \(.latency.percentiles_us."50" / 1000) ms, p99 \(.latency.percentiles_us."99" / 1000) ms; failed p50 \((.failed.percentiles_us."50") / 1000) ms, p99 \(.failed.percentiles_us."99" / 1000) ms",
      (.details | to_entries[] | "    \(.key): \(.value)")),
    (.generator | "  the clients used \(.busiest_thread * 100 | floor) % of a processor")' "$directory/overload.json"
  sort -n -k 2 "$directory/probes" | awk '{ codes[$1]++; took[NR] = $2 * 1000 }
    END { printf "  one who does not insist: p50 %.1f ms, p90 %.1f ms; answers", took[int((NR + 1) / 2)], took[int((NR * 9 + 9) / 10)]
          for (code in codes) printf " %s: %d", code, codes[code]; print "" }'
  echo "  resident memory of the largest node, MiB, each second: $(xargs <"$directory/resident")"
  echo "  convictions: $(($(counted helenus_convictions_total) - convictions))"
  for name in "${given_up[@]}"; do
    echo "  $name: $(($(counted "$name") - counts[$name]))"
  done
  run after run --threads 64 --target "$half" --warmup "$recovery" --duration 10s
  echo "after     $(rate after) operations/s of $half asked for, $(failed after) failed"
  latencies after
  echo "$peak $(rate overload)" >>"$directory/overloads"
  p99 before >>"$directory/befores"
  p99 after >>"$directory/afters"
}

run load load --threads 16
for ((number = 1; number <= rounds; number++)); do
  echo "Round $number"
  round
done
run peak run --threads 64 --warmup 3s --duration 10s
rate peak >>"$directory/overloads"

echo "Goodput beside the mean of the peaks before and after, %:"
awk 'NR > 1 { printf "%d\n", 100 * overload / (($1 + peak) / 2) } { peak = $1; overload = $2 }' "$directory/overloads" >"$directory/goodputs"
echo "  $(xargs <"$directory/goodputs"); median $(median <"$directory/goodputs")"
echo "p99 of the slower operation, ms:"
echo "  before $(xargs <"$directory/befores"); median $(median <"$directory/befores")"
echo "  after  $(xargs <"$directory/afters"); median $(median <"$directory/afters")"
