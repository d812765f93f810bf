#!/usr/bin/env bash
# Ranks with unlike BLAS kernels are named, by host and rank, and the run ends with status 2.
#   unlike.sh PROGRAM DIRECTORY MPIEXEC...
set -euo pipefail
program=$1 directory=$2
shift 2

kernel() { OPENBLAS_CORETYPE=$1 "$program" --version | sed -n 's/^BLAS kernel: //p'; }
if [[ $(kernel Haswell) == "$(kernel Prescott)" ]]; then
    echo "this BLAS, or this processor, has one kernel only"
    exit 77
fi
rm -rf "$directory" && mkdir -p "$directory" && cd "$directory"
rc=0
"$@" 1 -x OPENBLAS_CORETYPE=Haswell "$program" train : \
    -n 2 -x OPENBLAS_CORETYPE=Prescott "$program" train 2>out || rc=$?
cat out
((rc == 2))
grep -c '^mltfr_dist: error: ' out | grep -qx 1
grep -q "^mltfr_dist: error: rank 1 on $(hostname) (BLAS kernel Prescott) computes other bits than rank 0 on $(hostname) (Haswell)" out
