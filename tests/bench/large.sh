#!/usr/bin/env bash
# A large catalogue: memory of a rank and seconds of a step on 1, 2 and 4 ranks.
#
#     bash tests/bench/large.sh [ITEMS [USERS]]        5,000,000 items and 1,024 users if not given
#
# BUILD, RANKS and WORK may be set: the program's directory (build), the numbers of ranks, and
# where about 1 KB an item can be written and removed again.  The losses of all runs must be equal.
set -euo pipefail
cd "$(dirname "$0")/../.."
. jobs/setup.sh
mpi_environment
items=${1:-5000000} users=${2:-1024}
program=${BUILD:-build}/mltfr_dist
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/large.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$program" data --synthetic --items "$items" --users "$users" --out "$work/data.h5"
for ranks in ${RANKS:-1 2 4}; do
    mpirun -q -np "$ranks" "$program" train --progress=none --set data.path="$work/data.h5" \
        --set model.experts=false --set train.loss=sampled --set train.negatives_by=frequency \
        --set train.adam=lazy --set train.epochs=3 --set eval.every=0 --set checkpoint.every=1000000 \
        --set run.dir="$work/run" >"$work/out"
    metrics=$work/run/metrics.jsonl
    # The first epoch touches the memory for the first time; the last one counts.
    seconds=$(sed -n 's/.*"kind":"epoch","epoch":3,.*"seconds":\([0-9.]*\),.*/\1/p' "$metrics")
    steps=$(($(grep -c '"kind":"step"' "$metrics") / 3))
    printf 'ranks %d  %s  step %.1f ms  %s\n' "$ranks" \
        "$(sed -n 's/^memory  at most \(.*\)/\1/p' "$work/out")" \
        "$(awk "BEGIN { print 1000 * $seconds / $steps }")" "$(tail -n 1 "$work/out")"
    grep '"kind":"step"' "$metrics" >"$work/losses.$ranks"
    cmp "$work/losses.$ranks" "$work"/losses."${first:=$ranks}"
    rm -rf "$work/run"
done
