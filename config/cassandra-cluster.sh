#!/bin/sh
# Three nodes of Cassandra 2.1 on this machine, 127.0.0.1 to 127.0.0.3, with its own load generator: a target of
# config/compare.toml. CASSANDRA_HOME is the directory of the release, with lib/, conf/ and tools/. Needs Java 17.
#
#   cassandra-cluster.sh up DIR [COLUMNS [BYTES]]             start the nodes, and load 20000 rows
#   cassandra-cluster.sh stress DIR write|read THREADS SECONDS [COLUMNS [BYTES]]
#                                                             at QUORUM, replication factor 3; prints what cassandra-stress
#                                                             prints, and `cpu per op`, microseconds
#   cassandra-cluster.sh down DIR                             stop them, and remove DIR
#
# A row is one column of 100 bytes by default.
# SYNC=batch makes every write durable before it is acknowledged; the default is a sync every ten seconds.
set -eu
: "${CASSANDRA_HOME:?is the directory of a Cassandra 2.1}"
command=$1
mkdir -p "$2"
directory=$(cd "$2" && pwd)
rows=20000

# Java 17 keeps from old programs what Java 7 gave them.
opened=
for package in java.lang java.lang.reflect java.util java.util.concurrent java.util.concurrent.atomic java.nio java.io \
  java.net sun.nio.ch jdk.internal.ref jdk.internal.misc; do
  opened="$opened --add-opens java.base/$package=ALL-UNNAMED"
done
opened="$opened --add-opens java.management/javax.management=ALL-UNNAMED"
opened="$opened --add-exports java.base/jdk.internal.ref=ALL-UNNAMED"

jars() { # of directories, as a class path
  for jar_directory in "$@"; do
    printf '%s:' "$CASSANDRA_HOME/$jar_directory"/*.jar
  done
}

configure() { # node
  node=$directory/n$1
  mkdir -p "$node"
  echo '<configuration><root level="OFF"/></configuration>' > "$node/logback.xml"
  case ${SYNC:-periodic} in
    batch) window='commitlog_sync_batch_window_in_ms: 2' ;;
    *) window='commitlog_sync_period_in_ms: 10000' ;;
  esac
  cat > "$node/cassandra.yaml" << YAML
cluster_name: compare
num_tokens: 16
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [$node/data]
commitlog_directory: $node/commitlog
saved_caches_directory: $node/caches
commitlog_sync: ${SYNC:-periodic}
$window
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "127.0.0.1"}]}]
listen_address: 127.0.0.$1
rpc_address: 127.0.0.$1
start_native_transport: true
start_rpc: true
endpoint_snitch: SimpleSnitch
auto_bootstrap: false
YAML
}

start() { # node
  configure "$1"
  # shellcheck disable=SC2086 # a list of options
  java -Xms1G -Xmx1G -XX:+UseParallelGC -Djava.net.preferIPv4Stack=true $opened -Djava.security.manager=allow \
    -Dcassandra.jmx.local.port=$((7198 + $1)) -Dlogback.configurationFile=logback.xml -Dcassandra-foreground=yes \
    -Dcassandra.skip_wait_for_gossip_to_settle=0 -cp "$directory/n$1:$(jars lib)" \
    org.apache.cassandra.service.CassandraDaemon > "$directory/n$1/output" 2>&1 &
  echo $! >> "$directory/pids"
}

stress() { # columns, bytes, arguments of cassandra-stress
  columns=$1
  bytes=$2
  shift 2
  # shellcheck disable=SC2086
  java -Xmx512M $opened -cp "$directory/n1:$CASSANDRA_HOME/conf:$(jars tools/lib lib)" \
    org.apache.cassandra.stress.Stress "$@" -mode native cql3 -node 127.0.0.1 -schema 'replication(factor=3)' \
    -col "n=FIXED($columns)" "size=FIXED($bytes)"
}

ticks() { # of processor time that the nodes took so far, as user and system
  total=0
  while read -r pid; do
    read -r stat < "/proc/$pid/stat"
    # shellcheck disable=SC2086 # from the third field on: the second, a name, may hold blanks
    set -- ${stat##*) }
    total=$((total + ${12} + ${13}))
  done < "$directory/pids"
  echo "$total"
}

# Passes on what cassandra-stress prints, and adds the nodes' processor time for each operation. It warms up by 50000
# operations that are in none of its figures: they are left out here too, and so is what the nodes do after the last
# answer, as they flush and compact.
with_cpu() {
  while IFS= read -r line; do
    case $line in
      Running*' iterations') before=$(ticks) operations=${line% iterations} ;;
      Results:) after=$(ticks) ;;
    esac
    printf '%s\n' "$line"
  done
  : "${after:?cassandra-stress told no results}"
  cpu_us=$(((after - before) * 1000000 / $(getconf CLK_TCK) / ${operations##* }))
  echo "cpu per op                : $cpu_us"
}

running() { # nodes; the number of one that ended may be another process's by now
  while read -r pid; do
    if grep -qsF "$directory/n" "/proc/$pid/cmdline"; then echo "$pid"; fi
  done < "$directory/pids"
}

case $command in
  up)
    for n in 1 2 3; do
      start "$n"
      waited=0
      until grep -q "0${n}00007F:2352 " /proc/net/tcp; do
        waited=$((waited + 1))
        [ "$waited" -lt 120 ] || { echo "node $n does not listen; see $directory/n$n/output" >&2; exit 1; }
        sleep 0.5
      done
    done
    sleep 3
    stress "${3:-1}" "${4:-100}" write n=$rows cl=all -key "populate=1..$rows" -rate threads=16 > "$directory/load" 2>&1
    ;;
  # This release cannot be told how long, only how much: about what it does in that time.
  stress)
    stress "${6:-1}" "${7:-100}" "$3" "n=$(($5 * 10000))" cl=quorum -key "dist=UNIFORM(1..$rows)" -rate "threads=$4" 2>&1 | with_cpu
    ;;
  down)
    touch "$directory/pids"
    signal=TERM
    waited=0
    while nodes=$(running) && [ -n "$nodes" ]; do
      [ "$waited" -lt 60 ] || signal=KILL
      # shellcheck disable=SC2086 # several; one may end meanwhile
      kill -s "$signal" $nodes || true
      waited=$((waited + 1))
      sleep 0.5
    done
    rm -r "$directory"
    ;;
  *)
    echo "cassandra-cluster.sh: up, stress or down, not $command" >&2
    exit 2
    ;;
esac
