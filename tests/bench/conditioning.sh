#!/usr/bin/env bash
# tests/bench/conditioning.sh [TIMES]: token tables to token-space file, this program against
# tests/bench/conditioning_numpy.py, in turns on the same two cores.
#
# PYTHON (python3) needs numpy, scipy and h5py; BUILD (build) holds mltfr_dist; the tables come from
# `data/fetch.sh smollm2 minilm gemma3`.  Prints each pair, then the ratios, and the largest resident
# memory: of each rank and the sum, in which libraries and shared pages count once a rank; and the goal
# for that sum: tables as stored, float32 output, three matrices of the order of all widths together.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/setup.sh
mpi_environment
times=${1:-3} python=${PYTHON:-python3} build=${BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cache=data/cache
names=(smollm2 minilm gemma3)
paths=("$cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$cache/minilm/model.safetensors"
    "$cache/gemma3/gemma-3-270m-q4_k_m.gguf")
cat "${paths[@]}" >/dev/null # both read what is cached
for i in 0 1 2; do specs+=("${names[i]}=${paths[i]}"); done

# What a command has had resident at most, in MiB, as the last line of stderr.
cat >"$dir/watch.py" <<'PY'
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print("resident %d" % (resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024), file=sys.stderr)
sys.exit(status)
PY

seconds() {
    local begin=${EPOCHREALTIME/./}
    "$@" >"$dir/out" 2>"$dir/err" || { cat "$dir/out" "$dir/err" >&2 && return 1; }
    last=$(($(printf %s "${EPOCHREALTIME/./}") - begin))
    last=$(awk "BEGIN { print $last / 1e6 }")
    mapfile -t resident < <(sed -n 's/^resident //p' "$dir/err")
}

ours() {
    seconds mpirun -np 2 python3 "$dir/watch.py" "$build/mltfr_dist" tokens \
        --config jobs/configs/three.yaml --out "$dir/ours.h5"
}

theirs() {
    OPENBLAS_NUM_THREADS=2 seconds python3 "$dir/watch.py" "$python" \
        tests/bench/conditioning_numpy.py --out "$dir/theirs.h5" "${specs[@]}"
}

for ((i = 1; i <= times; i++)); do
    theirs
    numpy=$last numpy_memory=${resident[*]}
    ours
    ratio=$(awk "BEGIN { printf \"%.2f\", $numpy / $last }")
    ratios+=("$ratio")
    echo "NumPy $numpy s, mltfr_dist $last s, ratio $ratio"
done
printf '%s\n' "${ratios[@]}" | sort -n |
    awk '{ x[NR] = $1 } END { print "ratio: least", x[1], "median", x[int((NR + 1) / 2)], "most", x[NR] }'
grep '^seconds' "$dir/out"
echo "resident MiB: NumPy $numpy_memory; ranks ${resident[*]}, together $((resident[0] + resident[1]))"
"$python" - "$dir/ours.h5" <<'PY'
import sys, h5py
spaces = h5py.File(sys.argv[1])["spaces"]
llms = [spaces[k] for k in spaces if k != "c"]
tables = sum(s.attrs["rows"] * s.attrs["width"] * {"Q8_0": 34 / 32, "F32": 4}[s.attrs["type"].decode()] for s in llms)
output = sum(spaces[k]["Z"].nbytes for k in spaces)
matrices = 3 * 8 * sum(s.attrs["width"] for s in llms) ** 2
parts = [x / 2**20 for x in (tables, output, matrices)]
print("goal MiB: tables %.0f + output %.0f + matrices %.0f = %.0f" % (*parts, sum(parts)))
PY
