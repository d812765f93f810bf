#!/usr/bin/env bash
# What a run takes of MPI it gives back: Open MPI names the handles that are left at the end.  Memory
# is counted by the program itself, but the sanitizer's suppressions hide what MPI holds.
# shellcheck source=tests/fault/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export OMPI_MCA_mpi_show_handle_leaks=1
make_data
for np in 1 3; do
    "${launch[@]}" "$np" "$PROGRAM" train "${small[@]}" --set "run.dir=$scratch/run$np" \
        </dev/null >"$scratch/out" 2>"$scratch/err" || fail "$np ranks: $(cat "$scratch/err")"
    if grep -v '^mltfr_dist: warning: [0-9]* ranks share ' "$scratch/err"; then
        fail "$np ranks leave handles behind"
    fi
done
finish "no handle of MPI is left"
