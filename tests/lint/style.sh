#!/usr/bin/env bash
# What can be counted of the style in CONTRIBUTING.md: lengths of functions and files, marks of
# unfinished work, public functions without a comment or without a word on who calls them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

longest_function=80 longest_file=500
faults=$(
    find mpi src tests -name '*.c' -exec awk -v most="$longest_function" '
        /^{/ { open = FNR }
        /^}/ && open {
            if (FNR - open + 1 > most)
                printf "%s:%d: a function of %d lines (%d)\n", FILENAME, open, FNR - open + 1, most
            open = 0
        }' {} +

    find mpi src -name '*.c' -exec awk -v most="$longest_file" '
        FNR == most + 1 { printf "%s: more than %d lines\n", FILENAME, most }' {} +

    grep -rnE '\b(TO[D]O|FI[X]ME|X[X]X|HA[C]K)\b' .ci CMakeLists.txt data/*.* docs include jobs mpi src tests || :

    # A block of lines without a blank one between them shares its comments.
    awk '
        function ends() {
            if (name && !comment)
                printf "%s:%d: %s has no comment\n", file, line, name
            else if (name && !caller && !file_caller)
                printf "%s:%d: %s: neither @local nor @collective\n", file, line, name
            name = ""
            comment = caller = 0
        }
        FNR == 1 { ends(); head = 1; file_caller = 0; file = FILENAME }
        /@(local|collective)/ { caller = 1; if (head) file_caller = 1 }
        head && /\*\// { head = 0 }
        /\/\*\*/ { comment = 1 }
        /^[a-zA-Z_][^;]*mltfr_[a-z0-9_]+\(/ && !/^typedef/ && !name {
            match($0, /mltfr_[a-z0-9_]+\(/)
            name = substr($0, RSTART, RLENGTH - 1)
            line = FNR
        }
        /^$/ { ends() }
        END { ends() }' include/mltfr/*.h
)
[[ -z $faults ]] || { echo "$faults"; exit 1; }
