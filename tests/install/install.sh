#!/usr/bin/env bash
# install.sh BUILD RUN: install into a directory, move it, build the project in consumer/ on it with
# CMake and with pkg-config, and compare its lists for the model of RUN with those of the installed
# program, byte for byte.
set -euo pipefail
build=$1 run=$2 here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "$*"; exit 1; }

cmake --install "$build" --prefix "$work/first" >/dev/null
mv first moved
prefix=$work/moved
find moved -type f -o -type l | sort | sed 's/lib\/x86_64-linux-gnu/lib/; s/-\(release\|debug\)\.cmake/-TYPE.cmake/' >files
diff - files <<'END' || fail "other files than these were installed"
moved/bin/mltfr_dist
moved/include/mltfr/serve.h
moved/lib/cmake/mltfr/mltfrConfig.cmake
moved/lib/cmake/mltfr/mltfrConfigVersion.cmake
moved/lib/cmake/mltfr/mltfrTargets-TYPE.cmake
moved/lib/cmake/mltfr/mltfrTargets.cmake
moved/lib/libmltfr.so
moved/lib/libmltfr.so.0
moved/lib/libmltfr.so.0.1.0
moved/lib/pkgconfig/mltfr.pc
moved/share/bash-completion/completions/mltfr_dist
moved/share/man/man1/mltfr_dist.1
moved/share/man/man5/mltfr_config.5
END
for page in "$prefix"/share/man/man?/*; do
    if command -v man >/dev/null && MANWIDTH=80 man --warnings "$page" 2>&1 >/dev/null | grep .; then
        fail "$page"
    fi
done

# The library shows mltfr_serve_* only, and stands without MPI.
library=$(find "$prefix" -name 'libmltfr.so.*.*')
nm -D --defined-only "$library" | awk '{ print $3 }' | grep -v '^mltfr_serve_' && fail "other symbols are visible"
nm -D "$library" >symbols
while read -r name; do
    grep -q " T $name\$" symbols || fail "$name is not in the library"
done < <(sed -nE 's/^MLTFR_SERVE_API.*(mltfr_serve_[a-z_]+)\(.*/\1/p' "$prefix/include/mltfr/serve.h")

cmake -S "$here/consumer" -B by-cmake -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build by-cmake >/dev/null
pc=$(dirname "$(find "$prefix" -name mltfr.pc)")
[[ $(PKG_CONFIG_PATH=$pc pkg-config --modversion mltfr) == 0.1.0 ]]
mkdir by-pkg-config
read -ra flags < <(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs mltfr)
cc -std=c11 -Wall -Wextra -Werror "$here/consumer/lists.c" -o by-pkg-config/lists "${flags[@]}"
LD_LIBRARY_PATH=$(dirname "$library")
export LD_LIBRARY_PATH
echo '#include <mltfr/serve.h>' | c++ -fsyntax-only -Wall -Werror -x c++ "${flags[0]}" - 2>c++.log ||
    ! command -v c++ >/dev/null || fail "$(cat c++.log)"

program=$prefix/bin/mltfr_dist
best=$(find "$run/run/checkpoints" -name 'step-*.h5' | sort | tail -1)
"$program" recommend --checkpoint "$best" --users all --top-k 7 --out users.csv --quiet >/dev/null
"$program" recommend --checkpoint "$best" --sequences "$run/known.txt" --top-k 5 --out known.csv --quiet >/dev/null
for consumer in by-cmake/lists by-pkg-config/lists; do
    ! ldd "$consumer" | grep -E 'libmpi|scalapack|not found' || fail "$consumer needs MPI"
    "$consumer" "$best" 7 - >lists.csv
    cmp users.csv lists.csv || fail "$consumer: other lists than recommend"
    "$consumer" "$best" 5 "$run/known.txt" run.seed=1 2>stderr && fail "an unknown key was accepted"
    grep -q "unknown key 'run.seed'" stderr || fail "$(cat stderr)"
    "$consumer" "$best" 5 "$run/known.txt" train.seed=9 >lists.csv
    cmp known.csv lists.csv || fail "$consumer: other lists for sequences"
    if localedef -i de_DE -f UTF-8 "./comma" 2>/dev/null; then
        LOCPATH=$PWD LC_ALL=comma "$consumer" "$best" 7 - >comma.csv || fail "$consumer: a locale with a comma"
        grep -q '"\?i"\?.*,1,[0-9-]*,[0-9]' comma.csv || fail "$consumer: that locale is not in use"
    fi
    rc=0
    "$consumer" none.h5 7 - 2>stderr || rc=$?
    ((rc == 1)) || fail "no file: status $rc"
    grep -q 'lists: checkpoint: none.h5: No such file' stderr || fail "$(cat stderr)"
    "$consumer" "$best" 0 - 2>stderr && fail "a list of 0 items"
    grep -q 'top_k = 0 is not allowed: must be from 1 on' stderr || fail "$(cat stderr)"
    echo >empty.txt
    "$consumer" "$best" 5 empty.txt 2>stderr && fail "an empty history was accepted"
    grep -q 'history 0 is empty' stderr || fail "$(cat stderr)"
done
echo "the installed library gives the lists of recommend, $(wc -l <users.csv) lines"
