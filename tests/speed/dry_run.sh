#!/usr/bin/env bash
# train --dry-run says memory, placement and time, and writes nothing.
#   dry_run.sh PROGRAM DIRECTORY MPIEXEC...
set -euo pipefail
program=$1 directory=$2
shift 2
small=(--set model.dim=16 --set filter.pool=64 --set train.batch=64)

rm -rf "$directory" && mkdir -p "$directory" && cd "$directory"
must_say() { grep -Eq "$1" "$2" || { echo "no line '$1' in:" && cat "$2" && exit 1; }; }

"$program" data --synthetic --out data.h5 >/dev/null
before=$(find . -type f -exec cksum {} +)
"$program" train --dry-run --set data.path=data.h5 "${small[@]}" >../one
"$@" 2 "$program" train --dry-run=3 --set data.path=data.h5 "${small[@]}" >../three
"$@" 2 "$program" train --dry-run=1,2,64,1024 --set data.path=data.h5 --set model.experts=false >../table
"$program" train --dry-run "${small[@]}" >../planted
[[ $before == "$(find . -type f -exec cksum {} +)" ]]
[[ $(ls) == data.h5 ]]

must_say '^dry run  1 ranks, a core each, at the rates of 1 here .*; exchange assumed' ../one
must_say '^memory   at most [0-9.]+ MiB a rank: items 0\.[0-9], parameters ' ../one
must_say '^items    200 in 13 blocks of 16: at most 200 rows a rank' ../one
must_say '^dry run  3 ranks, a core each, at the rates of 2 here [^;]*$' ../three
must_say '^items    200 in 13 blocks of 16: at most 80 rows a rank' ../three
must_say '^expert   .*: [0-9]+ tokens, pool of 64, ranks 0 to 1$' ../three
must_say '^expert   .*: [0-9]+ tokens, pool of 64, ranks 1 to 2$' ../three
must_say '^expert   consensus: .*ranks 0 to 2$' ../three
must_say '^step     [0-9.]+ s: backbone [0-9.]+, loss ' ../three
must_say '^epoch    [0-9.]+ s: 10 steps, [0-9]+ positions' ../three
must_say '^ +1 +[0-9.]+ +[0-9.]+ +[0-9.]+ +0\.0 % +1\.00$' ../table
must_say '^ +1024 +[0-9.]+ ' ../table
(($(grep -c ' % ' ../table) == 4))
must_say '^items    200 in 13 blocks' ../planted
