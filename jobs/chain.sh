#!/usr/bin/env bash
# Submit N jobs of train.sbatch that run one after another, where jobs may not be requeued:
#
#     MLTFR_RUN=runs/one bash jobs/chain.sh N [OPTION of sbatch...] [-- ARGUMENT of train...]
#
# Each goes on where the one before it stopped; once the run has ended the others say so and end at
# once.  Prints the job numbers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    echo "usage: MLTFR_RUN=directory $0 N [option of sbatch...] [-- argument of train...]" >&2
    exit 2
}
[[ ${1-} =~ ^[1-9][0-9]*$ && -n ${MLTFR_RUN-} ]] || usage
count=$1
shift
options=()
while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
done
shift $(($# > 0))

# Of all jobs of this user and name, singleton lets one run at a time.
name=mltfr-$(realpath -m "$MLTFR_RUN" | tr -c '[:alnum:]\n' -)
export MLTFR_MAX_RESTARTS=0 MLTFR_HOME=${MLTFR_HOME:-${here%/*}}
for ((i = 0; i < count; i++)); do
    MLTFR_CHAINED=$i sbatch --parsable --no-requeue --job-name="$name" --dependency=singleton "${options[@]}" \
        "$here/train.sbatch" "$@"
done
