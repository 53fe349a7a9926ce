#!/usr/bin/env bash
# YCSB's workloads A to F on three local nodes, factor 3, each with both reads and writes at ONE, QUORUM and ALL: with data
# that fits into the block cache, with data that does not, and over time while a node is killed. Writes OUT.md (tables, and
# the machine) and OUT.svg (the picture); each run's JSON stays in target/levels. About 12 minutes by default.
#
#   bench/experiments/levels.sh [SECONDS_PER_RUN] [RECORDS] [OUT]        8 s, 50000, bench/results/levels by default
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-8} records=${2:-50000} out=$(realpath -m "${3:-bench/results/levels}")
workloads=$PWD/config/workloads
clients=32 http_base=17670 peer_base=17770
# A record takes about 1.1 kB; the smaller cache holds a sixth of the records at most.
small_cache=$((records / 6))KiB

cargo build --release --quiet -p helenus-server --bin helenus
cargo build --release --quiet -p helenus-bench
target=$(realpath "${CARGO_TARGET_DIR:-target}")
PATH=$target/release:$PATH
results=$target/levels
rm -rf "$results"
mkdir -p "$results"
directory=$(mktemp -d)
cd "$directory" # where `helenus local` has its cluster
export HELENUS_ENDPOINT=http://127.0.0.1:$((http_base + 1))
endpoints=$HELENUS_ENDPOINT,http://127.0.0.1:$((http_base + 2)),http://127.0.0.1:$((http_base + 3))
finish() {
  helenus local down --wipe >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap finish EXIT
trap 'exit 130' INT TERM

up() { # up BLOCK-CACHE: a fresh cluster with all records, in SSTables rather than in memory
  helenus local down --wipe >/dev/null 2>&1 || true
  helenus local up --http-base $http_base --peer-base $peer_base --set "storage.block_cache=$1" >/dev/null
  helenus-bench load -P "$workloads/workloada" -p "recordcount=$records" --threads $clients --endpoints "$endpoints" \
    --consistency all --format json >/dev/null
  for node in 1 2 3; do helenus admin flush --endpoint "http://127.0.0.1:$((http_base + node))" >/dev/null; done
}

run() { # run FILE WORKLOAD LEVEL LABEL SECONDS [ARGUMENT ...]; a run without a result is a gap in the table
  echo "$(date +%T) $4, ${3^^}"
  helenus-bench run -P "$workloads/workload$2" -p "recordcount=$records" --threads $clients --endpoints "$endpoints" \
    --consistency "$3" --warmup 1s --duration "$5s" --sync-mode group --label "$4" --json "$results/$1.json" --format ycsb "${@:6}" |
    sed -n 's/^\[OVERALL\], Throughput(ops\/sec), \([0-9]*\).*/         \1 op\/s/p' || echo "         no success" >&2
}

three_up() {
  for _ in $(seq 120); do
    [ "$(helenus admin status | grep -c '^UN')" = 3 ] && return
    sleep 0.5
  done
  echo "levels.sh: node 3 did not come back" >&2
  exit 1
}

for size in smaller larger; do
  up "$([ $size = smaller ] && echo 256MiB || echo "$small_cache")"
  # D and E insert, so they come last, as YCSB's own instructions have it. All levels insert the same keys: only for the
  # first are they new.
  for workload in a b c f d e; do
    for level in one quorum all; do
      run "$size-$workload-$level" $workload $level "${workload^^}, data $size than the cache" "$seconds"
    done
  done
  if [ $size = smaller ]; then
    for level in one quorum all; do
      run "killed-$level" a $level "workload A while a node is killed" $((seconds * 2)) \
        --halfway "helenus local kill 3"
      helenus local start 3 >/dev/null
      three_up
    done
  fi
done

files=()
for name in {smaller,larger}-{a,b,c,d,e,f}-{one,quorum,all} killed-{one,quorum,all}; do
  [ ! -s "$results/$name.json" ] || files+=("$results/$name.json")
done
mkdir -p "$(dirname "$out")"
helenus-bench report "${files[@]}" --levels "$out"
echo "wrote $out.md and $out.svg"
