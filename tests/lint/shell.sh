#!/usr/bin/env bash
# Every shell script passes shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v shellcheck >/dev/null || { echo "skipped: no shellcheck"; exit 77; }

find .ci/run data jobs tests \( -name '*.sh' -o -name '*.sbatch' -o -name '*.pbs' -o -name run \) \
    -type f -not -path 'data/cache/*' -print0 | xargs -0 -r shellcheck --external-sources
