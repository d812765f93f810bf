#!/usr/bin/env bash
# Kernels on a processor without AVX-512: valgrind shows the programs one with AVX2, so that the
# copies for it run, and looks at what they read.
#   avx2.sh PROGRAM...
set -euo pipefail
command -v valgrind >/dev/null || { echo "skipped: no valgrind"; exit 77; }
for program; do
    echo "== ${program##*/}"
    valgrind -q --error-exitcode=9 "$program"
done
