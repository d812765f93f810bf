#!/usr/bin/env bash
# shellcheck disable=SC2317 # called by wait_until
# Stop signals: one rank's is enough, mpirun passes USR1 on, and more of them while a checkpoint is
# written do no harm.
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run=$scratch/run
begin() { # begin FAULT: in the background, its mpirun in $mpirun
    rm -rf "$run"
    MLTFR_FAULT=$1 "${launch[@]}" 3 "$PROGRAM_FAULT" train "${small[@]}" --set "run.dir=$run" \
        --set train.epochs=200 --set train.patience=0 </dev/null >"$scratch/out" 2>&1 &
    mpirun=$!
}
has_steps() { grep -q '"step":' "$run/metrics.jsonl" 2>/dev/null; }

# stopped WHAT: status 75, and the last step that was done is in a checkpoint.
stopped() {
    local status step
    wait "$mpirun"
    status=$?
    ((status == 75)) || fail "$1: status $status: $(tail -3 "$scratch/out")"
    step=$(sed -n 's/.*"kind":"step","step":\([0-9]*\).*/\1/p' "$run/metrics.jsonl" | tail -1)
    [[ $(newest "$run") == *$(printf 'step-%08d' "$step").h5 ]] ||
        fail "$1: stopped at step $step with $(newest "$run")"
    "$PROGRAM" inspect "$(newest "$run")" --verify >/dev/null || fail "$1: a damaged checkpoint"
}

make_data
for signal in USR1 TERM; do
    begin ""
    wait_until 60 has_steps || fail "no steps: $(tail -3 "$scratch/out")"
    kill -$signal "$(ranks "$mpirun" | tail -1)"
    stopped "SIG$signal of one rank"
done
begin ""
wait_until 60 has_steps
kill -USR1 "$mpirun"
stopped "SIGUSR1 of mpirun"

# One rank stands still within a checkpoint write, signals rain on all of them.
for signal in USR1 TERM; do
    begin "stop-write:20@1"
    wait_until 60 some_stopped "$mpirun" || fail "no write: $(tail -3 "$scratch/out")"
    mapfile -t pids < <(ranks "$mpirun")
    for _ in 1 2 3; do
        kill -$signal "${pids[@]}"
        sleep 0.1
    done
    kill -CONT "${pids[@]}"
    stopped "SIG$signal while a checkpoint is written"
done
finish "stopped by signals with a complete checkpoint"
