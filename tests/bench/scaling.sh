#!/usr/bin/env bash
# The model of step time and memory (docs/scaling.md) against runs: `train --dry-run` on two ranks,
# then a few steps on 1, 2, 4 and 8 ranks.  Where ranks outnumber cores they take turns, so the
# computing part of the prediction is multiplied by ranks / cores.
#   scaling.sh [DATA [SPACES]]    without SPACES, the backbone alone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/setup.sh
mpi_environment
data=${1:-data/cache/ml-100k/ml-100k.inter} spaces=${2:-}
program=${MLTFR_PROGRAM:-build/mltfr_dist}
keys=(--set data.path="$data" --set train.epochs=1 --set train.warmup_epochs=0)
if [[ $spaces ]]; then
    keys+=(--set tokens.path="$spaces")
else
    keys+=(--set model.experts=false)
fi
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
launch() { mpirun -q --oversubscribe -np "$@"; }

"$program" --version
launch 2 "$program" train --dry-run=1,2,4,8 "${keys[@]}" | tee "$runs/predicted"
for ranks in 1 2 4 8; do
    launch "$ranks" "$program" train "${keys[@]}" --progress=none --set run.dir="$runs/$ranks" \
        >"$runs/$ranks.log"
done
python3 - "$runs" "$(env -u OMP_NUM_THREADS nproc)" <<'END'
import json, re, sys

runs, cores = sys.argv[1], int(sys.argv[2])
print("ranks  s a step: model  measured  ratio   MiB: formula  held  ratio   exchange %: model  exposed")
for line in open(runs + "/predicted"):
    row = re.match(r" *(\d+) +([0-9.]+) +([0-9.]+) +[0-9.]+ +([0-9.]+) % ", line)
    if not row:
        continue
    ranks, memory, step, exchange = int(row[1]), float(row[2]), float(row[3]), float(row[4]) / 100
    model = step * (1 - exchange) * max(1, ranks / cores) + step * exchange
    kinds = [json.loads(x) for x in open(f"{runs}/{ranks}/metrics.jsonl")]
    time = next(x for x in kinds if x["kind"] == "time")
    steps = sum(x["kind"] == "step" for x in kinds)
    measured = (time["train"] - time["pools"]) / steps
    held = float(re.search(r"memory  at most ([0-9.]+) MiB", open(f"{runs}/{ranks}.log").read())[1])
    print(f"{ranks:5d} {model:16.4f} {measured:9.4f} {model / measured:6.2f} {memory:15.1f} {held:5.1f}"
          f" {memory / held:6.2f} {100 * exchange:18.1f} {100 * time['exposed']:8.1f}")
END
