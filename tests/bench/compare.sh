#!/usr/bin/env bash
# Seconds an epoch of this program and of its twin in PyTorch on the same cores and data, in turn:
#
#     tests/bench/compare.sh DATA SPACES [ROUNDS]
#
# DATA     sequences, `user item item ...` a line (Beauty in docs/results/speed.md)
# SPACES   token spaces, from `mltfr_dist tokens --out`
# ROUNDS   5
#
# PYTHON (python3) has to know torch and h5py (tests/bench/requirements.txt), BUILD (build) is the
# folder of the program, RANKS (2) its ranks and PyTorch's threads.  PREFIX is put in front of every
# timed command.  The last two lines are PyTorch's best variant over ours.
set -euo pipefail
cd "$(dirname "$0")/../.."
if (($# < 2)); then
    sed -n '2,14p' "$0" >&2
    exit 2
fi
data=$1 spaces=$2 rounds=${3:-5}
python=${PYTHON:-python3} build=${BUILD:-build} ranks=${RANKS:-2}
read -ra prefix <<<"${PREFIX:-}"

. jobs/setup.sh
mpi_environment
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Seconds of the second epoch.
ours() {
    rm -rf "$work/run"
    "${prefix[@]}" mpirun -q -np "$ranks" "$build/mltfr_dist" train --quiet --progress=none \
        --config jobs/configs/beauty-sasrec.yaml --set data.path="$data" --set train.epochs=2 \
        --set eval.every=0 --set run.dir="$work/run" "$@" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    sed -n 's/.*"kind":"epoch","epoch":2.*"seconds":\([0-9.]*\).*/\1/p' "$work/run/metrics.jsonl"
}

experts() {
    ours --set model.experts=true --set tokens.path="$spaces" --set train.warmup_epochs=0 \
        --set filter.pool=2048 --set filter.top_m=32
}

# Seconds of one epoch, after three steps.
theirs() {
    "${prefix[@]}" "$python" tests/bench/torch_twin.py --data "$data" --epochs 1 \
        --threads "$ranks" "$@" | sed -n 's/.* seconds //p'
}

# ratio NAME FILE: FILE has lines `theirs ours`.
ratio() {
    awk '{ printf "%.6f\n", $1 / $2 }' "$2" | sort -n | awk -v name="$1" '
        { r[NR] = $1 }
        END {
            median = NR % 2 ? r[(NR + 1) / 2] : (r[NR / 2] + r[NR / 2 + 1]) / 2
            printf "%s ratio min=%.2f median=%.2f max=%.2f\n", name, r[1], median, r[NR]
        }'
}

sha256sum "$data"
"$build/mltfr_dist" --version | sed -n '1p;$p'
"$python" -c 'import torch; print("torch", torch.__version__)'
for ((round = 1; round <= rounds; round++)); do
    bucketed=$(theirs) own=$(ours) padded=$(theirs --padded)
    mixed=$(theirs --spaces "$spaces") own_mixed=$(experts)
    echo "round $round: sasrec $own, torch $bucketed, padded $padded;" \
        "mltfr $own_mixed, torch $mixed seconds an epoch"
    echo "$bucketed $own" >>"$work/sasrec"
    echo "$padded $own" >>"$work/padded"
    echo "$mixed $own_mixed" >>"$work/mltfr"
done
ratio 'sasrec padded' "$work/padded"
ratio sasrec "$work/sasrec"
ratio mltfr "$work/mltfr"
