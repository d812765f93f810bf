#!/usr/bin/env bash
# Runs that are killed, and go on from what is left on another number of ranks.
#
#   PROGRAM=... PROGRAM_FAULT=... kill.sh [TRIALS [SEED]]
#
# Each trial kills a run one to three times with SIGKILL, one rank or all of them and mpirun: at a
# random time, or, in every other trial, at a random call within a checkpoint write.  Then it lets
# the run end.  Parameters, moments, state and all losses must be those of an undisturbed run, and
# each start must go on from the newest checkpoint that was there.
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
trials=${1:-5} seed=${2:-1}
RANDOM=$seed

run=$scratch/run
# start NP PROGRAM FAULT: in the background, its mpirun in $mpirun.
start() {
    MLTFR_FAULT=$3 "${launch[@]}" "$1" "$2" train "${small[@]}" --set "run.dir=$run" \
        </dev/null >>"$scratch/log" 2>&1 &
    mpirun=$!
}
train() { # train NP: with no fault, to its end
    start "$1" "$PROGRAM" ''
    wait "$mpirun"
}

# A call within a checkpoint write, for MLTFR_FAULT.  Rank 0 makes most of them.
point() { # point NP
    local rank=$((RANDOM % 2 ? 0 : RANDOM % $1)) kinds=(write write fsync rename close) kind
    kind=${kinds[RANDOM % ${#kinds[@]}]}
    case $kind in
    write) echo "write:$((1 + RANDOM % (rank == 0 ? 900 : 90)))@$rank" ;;
    rename) echo "rename:$((1 + RANDOM % 8))@0" ;;
    *) echo "$kind:$((1 + RANDOM % 8))@$rank" ;;
    esac
}

# Everything at one blow, as a node that is lost.
kill_all() {
    local pids
    mapfile -t pids < <(descendants "$mpirun")
    kill -KILL "$mpirun" "${pids[@]}" 2>/dev/null
}

# killed_inside NP: one rank dies within a write, or all do while one of them stands still there.
killed_inside() {
    local spec
    spec=$(point "$1")
    if ((RANDOM % 2)); then
        start "$1" "$PROGRAM_FAULT" "die-$spec"
    else
        start "$1" "$PROGRAM_FAULT" "stop-$spec"
        while kill -0 "$mpirun" 2>/dev/null && ! some_stopped "$mpirun"; do sleep 0.02; done
        kill_all
    fi
    wait "$mpirun" 2>/dev/null
}

# killed_any_time NP: after a random part of the time that a run takes.
killed_any_time() {
    local victims
    start "$1" "$PROGRAM" ''
    sleep "$(awk -v part="$RANDOM" -v whole="$duration" 'BEGIN { print whole * part / 32768 }')"
    mapfile -t victims < <(ranks "$mpirun")
    if ((RANDOM % 2)) || ((${#victims[@]} == 0)); then
        kill_all
    else
        kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null
    fi
    wait "$mpirun" 2>/dev/null
}

# goes_on: does the next start go on from the newest whole checkpoint?
goes_on() { # goes_on EXPECTED
    local from
    from=$(sed -n 's/^resume  \([^:]*\): .*/\1/p' "$scratch/log" | tail -1)
    [[ $from == "$1" ]] || fail "trial $trial (seed $seed): goes on from '$from', not from '$1'"
}

end_run() {
    local np=$((1 + RANDOM % 5)) last
    last=$(newest "$run")
    : >"$scratch/log"
    if ! train "$np"; then
        fail "trial $trial (seed $seed): the run does not end: $(tail -3 "$scratch/log")"
    elif ! grep -q 'this run has ended' "$scratch/log"; then
        goes_on "$last"
    fi
    grep -q 'is skipped' "$scratch/log" && fail "trial $trial (seed $seed): a damaged checkpoint"
}

make_data
begin=$EPOCHREALTIME
train 2 || fail "the undisturbed run: $(tail -3 "$scratch/log")"
duration=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
mv "$run" "$scratch/whole"

kills=0 inside=0
for ((trial = 1; trial <= trials; trial++)); do
    rm -rf "$run"
    for ((left = 1 + RANDOM % 3; left > 0; left--)); do
        np=$((1 + RANDOM % 5))
        if ((trial % 2)); then killed_inside "$np"; else killed_any_time "$np"; fi
        if [[ -e $run/result.json ]]; then # it was over before: once more
            rm -rf "$run"
            left=$((left + 1))
            continue
        fi
        kills=$((kills + 1))
        inside=$((inside + $(find "$run/checkpoints" -name '*.part' 2>/dev/null | wc -l)))
        rm -rf "${scratch:?}"/ompi.* "${shared:?}"/*
    done
    end_run
    same_state "$run" "$scratch/whole" || fail "trial $trial (seed $seed): another result"
done
finish "$trials trials (seed $seed), $kills kills, $inside of them left an unfinished checkpoint:" \
    "all ended with the undisturbed run's bits"
