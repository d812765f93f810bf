#!/usr/bin/env bash
# A disk that takes no more: full, read-only, or beyond the size that the user may write.  Within
# 10 seconds every rank ends with one clear error; the checkpoint from before is what it was, and
# with space again the run ends with the bits of an undisturbed one.  The first two need mounts.
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

disk=$scratch/disk run=$scratch/disk/run
train() { # train NP OPTION...
    local np=$1
    shift
    "${launch[@]}" "$np" "${limited[@]}" "$PROGRAM" train "${small[@]}" --set "run.dir=$run" "$@" \
        </dev/null >"$scratch/out" 2>"$scratch/err"
}

# refused NP WHAT REASON: the run ends with one line that says why, and nothing is lost.
refused() {
    local begin=$SECONDS status
    train "$1"
    status=$?
    ((status == 1)) || fail "$2 on $1 ranks: status $status: $(cat "$scratch/err")"
    ((SECONDS - begin <= 10)) || fail "$2 on $1 ranks: took $((SECONDS - begin)) s"
    [[ $(grep -c 'mltfr_dist: error: ' "$scratch/err") == 1 ]] ||
        fail "$2 on $1 ranks: $(cat "$scratch/err")"
    grep -Eq "error: .*$run.*$3" "$scratch/err" || fail "$2 on $1 ranks: $(cat "$scratch/err")"
    cmp -s "$kept" "$(newest "$run")" || fail "$2 on $1 ranks: the checkpoint from before is lost"
}

start() { # a run with one checkpoint
    rm -rf "$run"
    train 1 --set run.stop_after=2
    (($? == 75)) || fail "no run to go on with: $(cat "$scratch/err")"
    cp "$(newest "$run")" "$kept"
}

complete() { # complete WHAT
    train 2 || fail "$1: it does not go on: $(cat "$scratch/err")"
    same_state "$run" "$scratch/whole" || fail "$1: another result"
}

limited=() kept=$scratch/kept.h5 run=$scratch/whole
make_data
train 2 || fail "the undisturbed run: $(cat "$scratch/err")"
bytes=$(stat -c %s "$(newest "$run")")
mkdir "$disk"
run=$disk/run

# Files of at most so many KiB; shared memory files are larger, so messages go by TCP.
start
for np in 1 3; do
    # shellcheck disable=SC2054
    limited=(env OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo bash -c "ulimit -f $((bytes / 2048)); exec \"\$@\"" --)
    refused "$np" "ulimit -f" "File too large"
    limited=()
done
complete "ulimit -f"

if ! mount -t tmpfs -o size=64m tmpfs "$disk" 2>"$scratch/err"; then
    if ((failures)); then exit 1; fi
    skip "a full and a read-only disk: no mount is allowed here ($(cat "$scratch/err"))"
fi
mounts+=("$disk")
start
for room in 0 4096 65536 $((bytes / 2)) $((bytes - 4096)); do
    free=$(($(stat -f -c '%f * %S' "$disk")))
    head -c $((free - room)) /dev/zero >"$disk/filler"
    refused $((room % 3 + 1)) "a full disk, $room bytes left" "No space left"
    rm "$disk/filler"
done
complete "a full disk"

start
mount -o remount,ro "$disk"
refused 3 "a read-only disk" "Read-only file system"
mount -o remount,rw "$disk"
complete "a read-only disk"
finish "full, read-only and limited: nothing lost"
