#!/usr/bin/env bash
# planted.sh PROGRAM: documents that run.sh has to refuse, and one that it must not.
set -euo pipefail
program=$1 run=${MLTFR_SOURCE_DIR:?}/tests/docs/run.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect STATUS MESSAGE LINE...: what run.sh makes of a document of these lines.
expect() {
    local status=0
    printf '%s\n' "${@:3}" >"$work/a.md"
    MLTFR_SOURCE_DIR=$work bash "$run" a.md "$program" >"$work/log" 2>&1 || status=$?
    if [[ $status != "$1" ]] || ! grep -q "$2" "$work/log"; then
        echo "planted.sh: status $status, not $1, or no '$2':" "${@:3}" && cat "$work/log" && exit 1
    fi
}
mkdir -p "$work/tests/docs"
touch "$work/tests/docs/before.sh"

expect 0 'all blocks say why' 'Text.' '```sh' '# not tested: needs a cluster' 'sbatch x' '```'
expect 0 'written' '```sh' 'echo writ''ten' '```'
expect 1 'a reason that is not allowed' '```sh' '# not tested: too long' 'true' '```'
expect 1 'a block without ```' 'Text.' '' '    mltfr_dist train'
expect 1 'a command that is not in a block' '```text' 'mpirun -np 2 mltfr_dist' '```'
expect 1 'a block of no kind' '```shell' 'true' '```'
expect 1 'a block without an end' '```sh' 'true'
expect 1 '' '```sh' 'false' '```'
expect 2 'unknown verb' '```sh' 'mltfr_dist trian' '```'
