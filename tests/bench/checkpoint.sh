#!/usr/bin/env bash
# Checkpoints of 1 GiB against plain writes and reads of the same disk (docs/results/checkpoint.md).
#   checkpoint.sh BUILD DIRECTORY [MIB [ROUNDS]]     make the program first: ninja -C BUILD bench.checkpoint
set -euo pipefail
build=$(realpath "$1") directory=$(realpath "$2") mib=${3:-1024} rounds=${4:-5}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/setup.sh

mpi_environment
unset OPENBLAS_CORETYPE
scratch=$(mktemp -d "$directory/checkpoint.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
for ranks in 2 3; do
    mpirun -q -np "$ranks" "$build/tests/bench.checkpoint" "$scratch" "$mib" "$rounds"
done
head -c $((mib << 20)) /dev/zero >"$scratch/zeros"
for _ in 1 2 3; do
    dd if="$scratch/zeros" of=/dev/null bs=1M 2>&1 | tail -1
done
