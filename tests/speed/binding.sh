#!/usr/bin/env bash
# Ranks that share a core are told so, once; a rank with a core of its own is not.
#   binding.sh PROGRAM DIRECTORY MPIEXEC...
set -euo pipefail
program=$1 directory=$2
shift 2
small=(--set train.epochs=0 --set model.dim=16 --set filter.pool=64)

rm -rf "$directory" && mkdir -p "$directory" && cd "$directory"
cores=$(env -u OMP_NUM_THREADS nproc)
core=$(taskset -cp $$ | sed 's/.*: //; s/[,-].*//')
warnings() { grep -c '^mltfr_dist: warning: .* ranks' "$1" || :; }

"$@" 2 taskset -c "$core" "$program" train "${small[@]}" 2>bound
cat bound
grep -q "warning: 2 ranks (0 and 1 are the first) run on one core of $(hostname)" bound
(($(warnings bound) == 1))

"$@" $((cores + 1)) "$program" train "${small[@]}" --set run.dir=run2 2>many
grep -q "warning: $((cores + 1)) ranks " many
(($(warnings many) == 1))

taskset -c "$core" "$program" train "${small[@]}" --set run.dir=run3 2>one
(($(warnings one) == 0))
