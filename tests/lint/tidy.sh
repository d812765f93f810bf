#!/usr/bin/env bash
# tidy.sh BUILD: clang-tidy with the checks of .clang-tidy over the program's sources, by the
# compile commands of the build directory BUILD.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v clang-tidy >/dev/null || { echo "skipped: no clang-tidy"; exit 77; }
[[ -f $build/compile_commands.json ]] || { echo "skipped: no compile_commands.json"; exit 77; }

find mpi src -name '*.c' -print0 |
    xargs -0 -r -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build" \
        --extra-arg=-Wno-unknown-warning-option 2> >(grep -vE 'warnings? (generated|treated)' >&2)
