#!/usr/bin/env bash
# same.sh PROGRAM RUN LAUNCH... -- WORD...: run a verb without a launcher, on one and on three
# ranks; every file it writes has the same bytes (an HDF5 file, which holds the time it was made,
# the same content).  RUN is a directory with a finished run; in WORD
# @RUN@ is that directory and @OUT@ a directory of the verb's own, where it writes.
set -euo pipefail
program=$1 run=$2
shift 2
launch=()
while [[ $1 != -- ]]; do launch+=("$1") && shift; done
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for np in 0 1 3; do
    mkdir "$work/$np"
    words=("${@//@RUN@/$run}")
    words=("${words[@]//@OUT@/.}")
    start=()
    ((np == 0)) || start=("${launch[@]}" "$np")
    (cd "$work/$np" && "${start[@]}" "$program" "${words[@]}" --progress=none >stdout)
    # Speed and memory are not of the result.
    sed -Ei '/^memory /d' "$work/$np/stdout"
done
[[ $(find "$work/0" -type f | wc -l) -gt 1 ]] || { echo "no file was written"; exit 1; }
for np in 1 3; do
    for file in "$work/0/"*.h5; do
        [[ ! -e $file ]] || h5diff -q "$file" "$work/$np/${file##*/}" ||
            { echo "${file##*/}: np 0 and np $np differ"; exit 1; }
    done
    diff -r --exclude='*.h5' "$work/0" "$work/$np" || { echo "np 0 and np $np differ"; exit 1; }
done
