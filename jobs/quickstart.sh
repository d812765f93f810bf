#!/usr/bin/env bash
# From a fresh checkout to a trained and tested recommender: installs what is missing (Debian),
# builds, fetches MovieLens-100K and the token tables of two LLMs, trains on MLTFR_NP ranks (2) and
# ranks the test items.  Without a network it trains the built-in synthetic example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. jobs/setup.sh

run=${MLTFR_RUN:-quickstart-run}
read -ra launch <<<"${MLTFR_LAUNCH:-mpirun -q -np ${MLTFR_NP:-2}}"

ensure_packages "${program_packages[@]}" "${data_packages[@]}"
mpi_environment
cmake --preset release -DBUILD_TESTING=OFF --log-level=WARNING
cmake --build build --target mltfr_dist

config=(--config jobs/configs/ml-100k.yaml)
rc=0
bash data/fetch.sh ml-100k smollm2 minilm || rc=$?
if ((rc == 3)); then
    echo "offline: this run is the built-in synthetic example, not MovieLens-100K"
    run=$run-synthetic config=()
elif ((rc)); then
    exit "$rc"
fi

"${launch[@]}" build/mltfr_dist train "${config[@]}" --set run.dir="$run"

# The result is the last line on stdout, so the places are named before it.
result=$("${launch[@]}" build/mltfr_dist evaluate "${config[@]}" --set run.dir="$run")
echo
echo "everything of this run is in $run/:"
echo "    log.txt, metrics.jsonl    how it went"
echo "    result.json               metrics, best epoch, best checkpoint"
echo "    checkpoints/              the model"
echo
echo "$result"
