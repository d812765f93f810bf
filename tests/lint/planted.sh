#!/usr/bin/env bash
# The checks can fail: each is run on a copy of the project with one fault planted, and must name
# the file with the fault.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/data"
cp -R .ci .clang-format .clang-tidy CMakeLists.txt CMakePresets.json ./*.md docs include jobs mpi \
    src tests "$copy"
bad=0

# plant CHECK FILE TEXT: with TEXT in FILE, CHECK.sh must fail and name FILE (or skip).
plant() {
    local check=$1 file=$2 said rc=0
    printf '%b\n' "$3" >"$copy/$file"
    said=$(bash "$copy/tests/lint/$check.sh" "$copy" 2>&1) || rc=$?
    cp "$file" "$copy/$file" 2>/dev/null || rm "$copy/$file"
    if ((rc == 77)); then
        echo "$check: $said"
    elif ((rc == 0)) || [[ $said != *"$file"* ]]; then
        echo "$check does not see: $3"
        bad=1
    fi
}

top='/** @file mltfr/planted.h\n *  Layer: num.  @local */'
plant layers src/num/planted.c '#include <mpi.h>'
plant layers src/num/planted.c '#include <mltfr/comm.h>'
plant layers src/model/planted.c '#include <mltfr/interactions.h>'
plant layers src/io/planted.c '#include "../model/planted.h"'
plant layers src/train/planted.c '#include <hdf5.h>'
plant layers src/train/planted.c 'int desc_init(void) { return Cblacs_pnum(0, 0, 0); }'
plant layers src/other.c 'int other;'
plant layers include/mltfr/planted.h '/** @file mltfr/planted.h */'
plant layers include/mltfr/planted.h "$top\n#include <mltfr/planted.h>\n#include <mltfr/comm.h>"
plant layers src/base/planted.h '#include "planted.h"'
plant layers include/mltfr/status.h '/** Layer: base. */\n#include <mltfr/mem.h>' # which needs status.h
plant style src/num/planted.c "int f(void)\n{\n$(printf '\\n%.0s' {1..90})}"
plant style src/num/planted.c "$(printf '\\n%.0s' {1..510})"
plant style mpi/planted.c "/* TO""DO: all of it */"
plant style include/mltfr/planted.h "$top\n\nint mltfr_planted_get(int x);"
plant style include/mltfr/planted.h "${top/@local/}\n\n/** Get. */\nint mltfr_planted_get(int x);"
plant format tests/unit/planted.c 'int  f( void );'
plant spelling docs/planted.md "A word that was rec""ieved."
# shellcheck disable=SC2016 # the text is a script
plant shell jobs/planted.sh '#!/bin/bash\nrm $1/*'
printf '[{"directory": "%s", "file": "src/base/planted.c", "command": "cc -c src/base/planted.c"}]' \
    "$copy" >"$copy/compile_commands.json"
find "$copy/mpi" "$copy/src" -name '*.c' -delete
plant tidy src/base/planted.c '#include <string.h>\nvoid f(int *a) { memset(a, sizeof a, 0); }'
exit "$bad"
