#!/usr/bin/env bash
# run.sh DOCUMENT PROGRAM: run all commands of a document, in its order, in a directory that has what
# a checkout has and the program in build/ and on PATH, and the files that tests/docs/before.sh makes.
# Commands stand in blocks ```sh, programs in blocks ```python.  What a test cannot run says so to its
# readers in the first line of the block, with one of the reasons below.  A block is an error that
# gives another reason, or is none of these and has a command all the same.
set -euo pipefail
document=$1 program=$2 source=${MLTFR_SOURCE_DIR:?}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v document="$document" '
    function refuse(why) { print document ":" NR ": " why ": " $0 >"/dev/stderr"; refused = 1; exit 1 }
    /^```/ && kind != "" { if (kind == "python") print "MLTFR_END"; kind = ""; next }
    /^```/ {
        kind = $0 == "```" ? "text" : substr($0, 4)
        if (kind !~ /^(sh|python|text|yaml|c|cmake)$/) refuse("a block of no kind")
        first = 1
        next
    }
    kind == "" && /^    [^ ]/ && blank { refuse("a block without ``` and its kind") }
    { blank = $0 == "" }
    kind ~ /^(text|yaml)$/ && /^(mltfr_dist [a-z]|build\/|mpirun |bash |cmake |ctest |sbatch |python3 )/ {
        refuse("a command that is not in a block ```sh")
    }
    kind != "sh" && kind != "python" { next }
    first && /^# not tested/ {
        if (!/^# not tested: (needs|takes|fetches|installs|builds)[ ,]/) refuse("a reason that is not allowed")
        kind = "passed over"
        next
    }
    first { first = 0; if (kind == "python") print "/usr/bin/python3 - <<\"MLTFR_END\"" }
    { print }
    END { if (!refused && kind != "") refuse("a block without an end") }' "$source/$document" >"$work/commands"
[[ -s $work/commands ]] || { echo "$document: all blocks say why they are not run"; exit 0; }

mkdir "$work/checkout" "$work/checkout/build"
for name in data docs include jobs tests; do ln -s "$source/$name" "$work/checkout/"; done
ln -s "$program" "$work/checkout/build/mltfr_dist"
cd "$work/checkout"
PATH=$PWD/build:$PATH
bash -eu "$source/tests/docs/before.sh" "$document" >before.txt 2>&1 || { cat before.txt; exit 1; }
set -v
bash -evu -o pipefail "$work/commands"
