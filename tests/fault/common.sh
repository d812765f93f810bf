# shellcheck shell=bash disable=SC2034,SC2317 # the scripts of this folder use what is set here
# Sourced by the tests of this folder: a small run with experts on, its directories, its end.
#
#   PROGRAM            the mltfr_dist under test; PROGRAM_FAULT obeys MLTFR_FAULT
#   "${launch[@]}" NP  mpirun; what it leaves behind is in $scratch and $shared
#   $small             settings: 24 steps, a checkpoint each second one

set -uo pipefail
: "${PROGRAM:?the mltfr_dist to test}"
PROGRAM_FAULT=${PROGRAM_FAULT:-$PROGRAM}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
mpi_environment

# Everything lives here, also what Open MPI would leave behind when it is killed.
scratch=$(mktemp -d)
shared=$(mktemp -d /dev/shm/mltfr-test.XXXXXX)
export TMPDIR=$scratch OMPI_MCA_btl_vader_backing_directory=$shared
mounts=()
cleanup() {
    local mount
    for mount in "${mounts[@]}"; do umount -l "$mount" 2>/dev/null; done
    rm -rf "$scratch" "$shared"
}
trap cleanup EXIT

failures=0
fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}
finish() {
    ((failures == 0)) && echo "$*"
    exit $((failures > 0))
}
skip() {
    echo "skipped: $*"
    exit 77
}

launch=(mpirun -q --oversubscribe -np)

data=$scratch/data.h5
small=(--progress=none --set "data.path=$data" --set train.epochs=4 --set train.batch=100
    --set train.warmup_epochs=1 --set model.dim=16 --set model.blocks=1 --set filter.pool=64
    --set filter.top_m=8 --set fisher.start=2 --set fisher.every=3 --set checkpoint.every=2
    --set eval.every=2 --set run.timeout=20)
make_data() { "$PROGRAM" data --synthetic --out "$data" >/dev/null || exit 1; }

newest() { find "$1/checkpoints" -name 'step-*.h5' 2>/dev/null | sort | tail -1; }

# same_state RUN OTHER: parameters, moments and state of the last checkpoints, and all losses.
same_state() {
    local a b group
    a=$(newest "$1") b=$(newest "$2")
    for group in params adam state; do
        h5diff "$a" "$b" "/$group" "/$group" >/dev/null || return 1
    done
    cmp -s <(grep '"kind":"step"' "$1/metrics.jsonl") <(grep '"kind":"step"' "$2/metrics.jsonl")
}

# descendants PID: the processes below it, those of mpirun being the ranks.
descendants() {
    local child
    for child in $(pgrep -P "$1"); do
        echo "$child"
        descendants "$child"
    done
}

# ranks PID: the ranks below a mpirun.
ranks() {
    local pid
    for pid in $(descendants "$1"); do
        [[ $(readlink "/proc/$pid/exe") == */mltfr_dist* ]] && echo "$pid"
    done
}

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.02
    done
}

is_stopped() { [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == T* ]]; }
some_stopped() {
    local pid
    for pid in $(ranks "$1"); do
        is_stopped "$pid" && return
    done
    return 1
}
