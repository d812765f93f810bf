#!/usr/bin/env bash
# tests/bench/conditioning.sh [TIMES]: token tables to token-space file, this program against
# tests/bench/conditioning_numpy.py, in turns on the same two cores.
#
# PYTHON (python3) needs numpy, scipy and h5py; BUILD (build) holds mltfr_dist; the tables come from
# `data/fetch.sh smollm2 minilm gemma3`.  Prints each pair, then the ratios, and the largest resident
# memory: of each rank and of all ranks, which count a page of a table once a rank that reads it.
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
for i in 0 1 2; do
    specs+=("${names[i]}=${paths[i]}")
    tables+="${tables:+, }{name: ${names[i]}, path: ${paths[i]}}"
done

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
        --set tokens.tables="[$tables]" --out "$dir/ours.h5"
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
