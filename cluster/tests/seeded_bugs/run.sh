#!/usr/bin/env bash
# Puts bugs into a copy of the sources, one after the other, and says which seed of the simulation catches each.
#
#   cluster/tests/seeded_bugs/run.sh [NAME…] [--seeds 2000] [--minutes 1]
#
# A NAME is part of the name of a patch beside this file; without any, all are tried. The sources are those of the
# working tree, but for files that git does not track; they are copied, and the tree is left alone. First, every patch
# must apply, and the sources without a patch must be clean. A patch that names a command, "Caught by: cargo test …", is
# tried with that: the simulation is too short for it. Exit status 1 if a bug is not caught.
set -euo pipefail

readonly CLEAN_SEEDS=200
# A bug may make a run go on for ever.
readonly MOST_SECONDS=900

seeds=2000
minutes=1
names=()
while (($# > 0)); do
    case $1 in
        --seeds | --minutes)
            if (($# < 2)); then
                echo "$1 needs a number" >&2
                exit 2
            fi
            if [[ $1 == --seeds ]]; then seeds=$2; else minutes=$2; fi
            shift
            ;;
        -*)
            sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
        *) names+=("$1") ;;
    esac
    shift
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(git -C "$here" rev-parse --show-toplevel)
place=${CARGO_TARGET_DIR:-$tree/target}/seeded_bugs
sources=$place/sources
readonly here tree place sources

# The patches whose names contain one of the given names.
chosen() {
    local patch name
    for patch in "$here"/*.patch; do
        if ((${#names[@]} == 0)); then
            echo "$patch"
            continue
        fi
        for name in "${names[@]}"; do
            if [[ $(basename "$patch") == *"$name"* ]]; then
                echo "$patch"
                break
            fi
        done
    done
}

# Always at the same place: cargo builds again what it knows by another path. The time of each file is now, since an
# interrupted run may have left a build of patched ones behind.
copy_sources() {
    local commit
    commit=$(git -C "$tree" stash create)
    rm -rf "$sources"
    mkdir -p "$sources"
    git -C "$tree" archive "${commit:-HEAD}" | tar -xm -C "$sources"
    # A repository of its own: otherwise git would look for the patched files in the one around it.
    git -C "$sources" init --quiet
}

build() {
    (cd "$sources" && CARGO_TARGET_DIR=$place/build cargo build --quiet --profile simulate \
        --package helenus-cluster --features simulation --example simulate) >"$place/build.txt" 2>&1
}

# Runs seeds from 1 until something is wrong; each violation is a line `seed 7: {"checker"}`.
simulate() {
    timeout "$MOST_SECONDS" "$place/build/simulate/examples/simulate" \
        --seeds "$1" --minutes "$minutes" --first >"$place/run.txt" 2>&1
}

# Runs the tests that a patch names; that they do not build is no catch.
run_tests() {
    (cd "$sources" && export CARGO_TARGET_DIR=$place/build && $1 --no-run) >"$place/build.txt" 2>&1 || return 0
    (cd "$sources" && export CARGO_TARGET_DIR=$place/build && $1) >"$place/run.txt" 2>&1
}

seconds_since() {
    echo $((SECONDS - $1))
}

mkdir -p "$place"
exec 9>"$place/lock"
if ! flock --nonblock 9; then
    echo "another run is under way in $place" >&2
    exit 2
fi
mapfile -t patches < <(chosen)
if ((${#patches[@]} == 0)); then
    echo "no patch has such a name" >&2
    exit 2
fi
copy_sources
for patch in "${patches[@]}"; do
    git -C "$sources" apply --check "$patch"
done
if ! build; then
    cat "$place/build.txt" >&2
    exit 2
fi
began=$SECONDS
if ! simulate "$CLEAN_SEEDS"; then
    echo "the sources without a patch are not clean:" >&2
    cat "$place/run.txt" >&2
    exit 2
fi
echo "without a patch: $CLEAN_SEEDS seeds are clean ($(seconds_since "$began") s)"

missed=0
printf '%-32s %6s %7s %5s  %s\n' bug seed build run 'caught by'
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    git -C "$sources" apply "$patch"
    began=$SECONDS
    if ! build; then
        cat "$place/build.txt" >&2
        exit 2
    fi
    build_seconds=$(seconds_since "$began")
    began=$SECONDS
    command=$(sed -n 's/^Caught by: //p' "$patch")
    if [[ -n $command ]]; then
        if run_tests "$command"; then caught='NOT CAUGHT'; else caught=$command; fi
    elif simulate "$seeds"; then
        caught='NOT CAUGHT'
    else
        caught=$(grep --max-count=1 '^seed [0-9]*: ' "$place/run.txt" || echo 'NOT CAUGHT')
    fi
    [[ $caught != 'NOT CAUGHT' ]] || missed=1
    seed=$(sed -n 's/^seed \([0-9]*\): .*/\1/p' <<<"$caught")
    printf '%-32s %6s %5s s %3s s  %s\n' \
        "$name" "${seed:--}" "$build_seconds" "$(seconds_since "$began")" "${caught#seed*: }"
    git -C "$sources" apply --reverse "$patch"
done
exit "$missed"
