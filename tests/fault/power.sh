#!/usr/bin/env bash
# shellcheck disable=SC2317 # called by wait_until
# Power cuts: a run writes to a file system in a file; all ranks are stopped at a random time, the
# file is copied and they go on.  In the copy, mounted as after a power cut, every checkpoint that
# the run had gone on from must be whole.
#
#   PROGRAM=... power.sh [CUTS [SEED]]
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cuts=${1:-3}
RANDOM=${2:-1}

disk=$scratch/disk copy=$scratch/copy run=$scratch/disk/run
mkdir "$disk" "$copy"
truncate -s 48M "$scratch/image"
mkfs.ext4 -q -F "$scratch/image" || skip "no mkfs.ext4"
mount -o loop "$scratch/image" "$disk" 2>"$scratch/err" ||
    skip "a file system in a file cannot be mounted here ($(cat "$scratch/err"))"
mounts+=("$disk" "$copy")

# The last step that was reported: the checkpoint of the one before is behind the run.
acknowledged() { tail -n 20 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step":\([0-9]*\),"loss.*/\1/p' | tail -1; }
beyond() { local step; step=$(acknowledged); [[ $step ]] && ((step > $1)); }

make_data
"${launch[@]}" 3 "$PROGRAM" train "${small[@]}" --set "run.dir=$run" --set checkpoint.every=1 \
    --set train.epochs=100000 --set eval.every=0 --set train.patience=0 </dev/null >"$scratch/out" 2>&1 &
mpirun=$!
lost=0 last=2
for ((cut = 1; cut <= cuts; cut++)); do
    wait_until 60 beyond "$last" || { fail "the run does not get on: $(tail -3 "$scratch/out")"; break; }
    sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
    mapfile -t pids < <(ranks "$mpirun")
    kill -STOP "${pids[@]}"
    wait_until 10 is_stopped "${pids[0]}"
    last=$(acknowledged)
    cp --sparse=always "$scratch/image" "$scratch/image.cut"
    kill -CONT "${pids[@]}"
    mount -o loop "$scratch/image.cut" "$copy" || { fail "cut $cut: no file system"; break; }
    printf -v path '%s/run/checkpoints/step-%08d.h5' "$copy" $((last - 1))
    "$PROGRAM" inspect "$path" --verify >"$scratch/said" 2>&1 || {
        lost=$((lost + 1))
        fail "cut $cut: step $((last - 1)): $(cat "$scratch/said")"
    }
    umount "$copy"
done
kill -KILL "$mpirun" "${pids[@]}" 2>/dev/null
wait "$mpirun" 2>/dev/null
finish "$cuts power cuts, the last at step $last: $lost checkpoints lost"
