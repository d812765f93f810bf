#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS [READER...]]: fuzz the readers of token tables, one after the other,
# with address and undefined-behaviour sanitizers; 600 s each, and all of them, if not given.
#
# Readers: gguf safetensors npy vocab.  The seeds are the files of the unit tests; what is found
# interesting stays in BUILD/corpus and is where the next run begins.  BUILD is build-fuzz of the
# source tree, or MLTFR_FUZZ_BUILD; the compiler is clang, or MLTFR_FUZZ_CC.
#
# Exit status: 0 nothing found; 1 a finding (its input is in BUILD/findings); 2 wrong arguments;
# 77 no clang with libFuzzer here.
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${MLTFR_FUZZ_BUILD:-$source/build-fuzz}
compiler=${MLTFR_FUZZ_CC:-clang}
seconds=${1:-600}
readers=("${@:2}")
((${#readers[@]})) || readers=(gguf safetensors npy vocab)

if [[ ! $seconds =~ ^[0-9]+$ ]]; then
    echo "run.sh: SECONDS is '$seconds'; usage: run.sh [SECONDS [READER...]]" >&2
    exit 2
fi
for reader in "${readers[@]}"; do
    if [[ ! -f $source/tests/fuzz/fuzz_$reader.c ]]; then
        echo "run.sh: unknown reader '$reader'; known: gguf safetensors npy vocab" >&2
        exit 2
    fi
done

mkdir -p "$build"
probe='int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > n; }'
if ! "$compiler" -fsanitize=fuzzer,address,undefined -x c - -o "$build/probe" <<<"$probe" 2>/dev/null; then
    echo "skipped: $compiler with libFuzzer is not there (apt-get install clang libclang-rt-dev)"
    exit 77
fi

# One at a time: several readers may be started at once.
(
    flock 9
    cmake -S "$source" -B "$build" -DCMAKE_C_COMPILER="$compiler" -DMLTFR_FUZZ=ON \
        -DBUILD_TESTING=ON --log-level=WARNING >"$build/log" &&
        cmake --build "$build" --target fuzz >>"$build/log" &&
        "$build/tests/fuzz.seeds" "$build/seeds"
) 9>"$build/lock" || {
    cat "$build/log" >&2
    echo "run.sh: the fuzzers could not be built" >&2
    exit 1
}

status=0
for reader in "${readers[@]}"; do
    mkdir -p "$build/corpus/$reader" "$build/findings/$reader"
    echo "$reader: $seconds s"
    if ! "$build/tests/fuzz.$reader" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=5 \
        -max_len=65536 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/findings/$reader/" "$build/corpus/$reader" \
        "$build/seeds/$reader" 2>"$build/$reader.log"; then
        tail -n 60 "$build/$reader.log"
        echo "$reader: a finding, in $build/findings/$reader"
        status=1
        continue
    fi
    sed -n 's/^stat::number_of_executed_units: */inputs: /p' "$build/$reader.log"
done
exit "$status"
