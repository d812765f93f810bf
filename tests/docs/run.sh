#!/usr/bin/env bash
# run.sh DOCUMENT PROGRAM: run all commands of a document, in its order, in a directory that has what
# a checkout has and the program in build/ and on PATH.  Commands stand in blocks ```sh, programs in
# blocks ```python.  A block whose first line begins with `# not tested` is passed over; so are
# blocks of other kinds (yaml, text, c).  A block by four blanks is an error here: it would be none of these.
set -euo pipefail
document=$1 program=$2 source=${MLTFR_SOURCE_DIR:?}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v document="$document" '
    /^```/ {
        if (kind != "") { if (kind == "python") print "MLTFR_END"; kind = ""; next }
        kind = $0 == "```" ? "text" : substr($0, 4)
        first = 1
        next
    }
    kind == "" && /^    [^ ]/ { print "echo >&2 \"" document ":" NR ": a block of commands without ```sh\"; exit 1"; exit }
    kind != "sh" && kind != "python" { next }
    first && /^# not tested/ { kind = "text"; next }
    first { first = 0; if (kind == "python") print "/usr/bin/python3 - <<\"MLTFR_END\"" }
    { print }' "$source/$document" >"$work/commands"
[[ $(wc -l <"$work/commands") -gt 5 ]] || { echo "$document: no commands were found"; exit 1; }

mkdir "$work/checkout" "$work/checkout/build"
for name in data docs include jobs tests; do ln -s "$source/$name" "$work/checkout/"; done
ln -s "$program" "$work/checkout/build/mltfr_dist"
cd "$work/checkout"
PATH=$PWD/build:$PATH
set -v
bash -evu "$work/commands"
