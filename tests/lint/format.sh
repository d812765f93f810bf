#!/usr/bin/env bash
# Every C file is as `clang-format -i` leaves it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v clang-format >/dev/null || { echo "skipped: no clang-format"; exit 77; }

find include mpi src tests -name '*.[ch]' -print0 |
    xargs -0 -r -n 16 -P "$(nproc)" clang-format --dry-run -Werror
