#!/usr/bin/env bash
# Does the time grow in a straight line?  One rank measures planted problems of three sizes each:
#
#     growth.sh positions     a step of training      batches of 256, 512 and 1,024 users
#     growth.sh items         a step without experts  12,000, 24,000 and 48,000 items
#     growth.sh tokens        level A of the filter   16,384, 32,768 and 65,536 tokens of each LLM
#                             (a step does not depend on them)
#
# Without an argument, all three.  Last on a line: time over size, relative to the smallest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. jobs/setup.sh
mpi_environment
program=${MLTFR_PROGRAM:-build/mltfr_dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# measure SIZE KEY=VALUE...
measure() {
    local size=$1 words=()
    shift
    for key in "$@"; do words+=(--set "$key"); done
    "$program" bench --out "$work/$size.json" --set run.dir="$work/run" "${words[@]}" >/dev/null
}

report() {
    python3 - "$work" "$@" <<'END'
import json, sys

work, what, line, *sizes = sys.argv[1:]
points = []
for size in sizes:
    with open(f"{work}/{size}.json", encoding="utf-8") as f:
        x = json.load(f)
    seconds = next(i["seconds"] for i in x["lines"] if i["name"] == line)
    points.append((x["rates"]["positions"] if what == "positions" else int(size), seconds))
most = max(s for _, s in points)
for n, seconds in points:
    print(f"{what:<10} {n:>8.0f}  {line:<12} {1e3 * seconds:9.2f} ms  {'#' * round(40 * seconds / most):<40}"
          f"  {seconds / n / (points[0][1] / points[0][0]):5.2f}")
END
}

few=(bench.items=12000 bench.tokens=8192)
for what in "${@:-positions items tokens}"; do
    for one in $what; do
        case $one in
        positions)
            for n in 256 512 1024; do measure "$n" "${few[@]}" train.batch="$n"; done
            report positions "step SASRec" 256 512 1024
            report positions "step MLTFR" 256 512 1024
            ;;
        items)
            for n in 12000 24000 48000; do measure "$n" bench.items="$n" model.experts=false; done
            report items "step SASRec" 12000 24000 48000
            ;;
        tokens)
            for n in 16384 32768 65536; do measure "$n" bench.items=1000 bench.tokens="$n"; done
            report tokens "filter A" 16384 32768 65536
            report tokens "step MLTFR" 16384 32768 65536
            ;;
        *)
            echo "growth.sh: positions, items or tokens, not '$one'" >&2
            exit 2
            ;;
        esac
    done
done
