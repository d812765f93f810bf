#!/usr/bin/env bash
# A fault at each point on each of three ranks, as a user sees it: the same exit status on every
# rank, one line that names the rank, nothing hangs, the checkpoint from before is what it was, and
# the run goes on from it to the bits of an undisturbed one.
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run=$scratch/run timeout=2
train() { # train FAULT: the status of each rank is in $scratch/status.RANK
    rm -f "$scratch"/status.*
    # shellcheck disable=SC2016 # for the shell of each rank; the pause lets all of them write
    MLTFR_FAULT=$1 timeout 60 "${launch[@]}" 3 bash -c '"$@"; status=$?
        echo $status >"$TMPDIR/status.$OMPI_COMM_WORLD_RANK"
        ((status == 0)) || sleep 1
        exit $status' -- \
        "$PROGRAM_FAULT" train "${small[@]}" --set "run.dir=$run" --set "run.timeout=$timeout" \
        </dev/null >"$scratch/out" 2>"$scratch/err"
}

restore() { rm -rf "$run" && cp -r "$scratch/before" "$run"; }

# check FAULT STATUSES TEXT: one of these statuses; where it is not 0, one line with this text.
check() {
    local fault=$1 status begin=$SECONDS seen said
    restore
    train "$fault"
    status=$?
    [[ " $2 " == *" $status "* ]] || fail "$fault: status $status: $(cat "$scratch/err")"
    ((status == 0 || SECONDS - begin <= timeout + 15)) || fail "$fault: took $((SECONDS - begin)) s"
    if ((status)); then
        said=$(grep 'mltfr_dist: error: ' "$scratch/err")
        [[ $said != *$'\n'* && $said =~ $3 ]] || fail "$fault: $(cat "$scratch/err")"
    fi
    if ((status <= 1)) && [[ $fault != *-* ]]; then
        seen=$(cat "$scratch"/status.? | sort -u | xargs)
        [[ $seen == "$status" ]] || fail "$fault: statuses $seen of the ranks, $status of all"
    fi
    cmp -s "$kept" "$run/checkpoints/${kept##*/}" || fail "$fault: the checkpoint is another"
}

make_data
small+=(--set checkpoint.keep=50)
train "" || fail "the undisturbed run: $(cat "$scratch/err")"
mv "$run" "$scratch/whole"
small+=(--set run.stop_after=4)
train ""
(($? == 75)) || fail "no run to go on with: $(cat "$scratch/err")"
unset 'small[-1]' 'small[-1]'
mv "$run" "$scratch/before"
kept=$(newest "$scratch/before")

for rank in 0 1 2; do
    for point in write enospc rename; do
        check "$point:7@$rank" "0 1" "rank $rank: .*$run"
    done
    check "alloc:700@$rank" 1 "rank $rank: out of memory"
    check "collective:200@$rank" 70 "rank $rank is out of step"
    check "sleep-alloc:700@$rank" 70 "rank $rank, phase '.*': it waits for no other rank"
    check "stop-collective:200@$rank" 70 "rank $rank, phase '.*': it is stopped by a signal"
    check "sleep-write:7@$rank" 70 "rank $rank, phase 'checkpoint"
    check "exit-collective:200@$rank" 1 "rank $rank, phase '.*': it has ended before its time"
    check "die-write:7@$rank" 137 "rank $rank, phase 'checkpoint"
    train "" || fail "after rank $rank: it does not go on: $(cat "$scratch/err")"
    same_state "$run" "$scratch/whole" || fail "after rank $rank: another result"
done
check "nonsense:1" 2 "MLTFR_FAULT: 'nonsense:1' is not "
finish "each fault is answered by one status on all ranks"
