#!/usr/bin/env bash
# No misspelt words, in code or text.  Words that are right all the same: words.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v codespell >/dev/null || { echo "skipped: no codespell"; exit 77; }

codespell --ignore-words tests/lint/words.txt \
    --skip '*.h5,*.npy,*.gguf,*.safetensors,*.sha256,data/cache' \
    CMakeLists.txt CMakePresets.json ./*.md data docs include jobs mpi src tests
