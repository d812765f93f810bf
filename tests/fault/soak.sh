#!/usr/bin/env bash
# shellcheck disable=SC2317 # called by wait_until
# A long run, compressed: many steps, a checkpoint each 50.  Memory and open files of each rank must
# not grow after step 200.
#
#   PROGRAM=... soak.sh [STEPS]
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
steps=${1:-20000}

run=$scratch/run
# step_now: the last step that was reported.
step_now() { tail -n 20 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/.*"kind":"step","step":\([0-9]*\),.*/\1/p' | tail -1; }
beyond() { local step; step=$(step_now); ! kill -0 "$mpirun" 2>/dev/null || { [[ $step ]] && ((step > $1)); }; }

# sample FILE: a line a rank of KiB resident and files open.
sample() {
    local pid
    for pid in $(ranks "$mpirun"); do
        echo "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" "$(find "/proc/$pid/fd" -mindepth 1 | wc -l)"
    done >"$1"
}

make_data
begin=$SECONDS
"${launch[@]}" 2 "$PROGRAM" train "${small[@]}" --set "run.dir=$run" --set checkpoint.every=50 \
    --set train.epochs=1000000 --set "train.max_steps=$steps" --set train.patience=0 --set eval.every=50 \
    </dev/null >"$scratch/out" 2>&1 &
mpirun=$!
wait_until 600 beyond 200
sample "$scratch/first"
for ((at = 200; at < steps * 9 / 10; at += steps / 10)); do
    wait_until 3600 beyond "$at"
    sample "$scratch/last"
    echo "step $(step_now): KiB and files of each rank: $(xargs <"$scratch/last")"
done
wait "$mpirun" || fail "the run: $(tail -3 "$scratch/out")"
paste -d ' ' "$scratch/first" "$scratch/last" >"$scratch/both"
while read -r rss files rss_last files_last; do
    ((files_last <= files)) || fail "open files grow from $files to $files_last"
    ((rss_last <= rss + rss / 50 + 1024)) || fail "memory grows from $rss to $rss_last KiB"
done <"$scratch/both"
[[ -s $scratch/both ]] || fail "nothing was seen"
finish "$steps steps, a checkpoint each 50, in $((SECONDS - begin)) s: memory and open files do not grow"
