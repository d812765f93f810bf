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
"$program" train --dry-run "${small[@]}" --set item.inject=static >../planted 2>../injected
grep -q 'item.inject: its time comes on top' ../injected
[[ $before == "$(find . -type f -exec cksum {} +)" ]]
[[ $(ls) == data.h5 ]]

must_say '^dry run  1 ranks, a core each, at the rates of 1 here .*; exchange assumed' ../one
must_say '^memory   at most [0-9.]+ MiB a rank: items 0\.[0-9], parameters ' ../one
must_say '^items    200 in 13 blocks of 16: at most 200 rows a rank' ../one
must_say '^dry run  3 ranks, a core each, at the rates of 2 here [^;]*$' ../three
must_say '^items    200 in 13 blocks of 16: at most 80 rows a rank' ../three
must_say '^expert   .*: 600 tokens, pool of 64, owner rank 0, ranks 0 to 2$' ../three
must_say '^expert   .*: 500 tokens, pool of 64, owner rank 1, ranks 0 to 2$' ../three
must_say '^place    the fullest rank has 1\.64 of the mean of token rows, 1\.[01][0-9] of' ../three
must_say '^expert   consensus: .*ranks 0 to 2$' ../three
must_say '^step     [0-9.]+ s: backbone [0-9.]+, loss ' ../three
must_say '^epoch    [0-9.]+ s: 10 steps, [0-9]+ positions' ../three
must_say '^ +1 +[0-9.]+ +[0-9.]+ +[0-9.]+ +0\.0 % +1\.00$' ../table
must_say '^ +1024 +[0-9.]+ ' ../table
(($(grep -c ' % ' ../table) == 4))
must_say '^items    200 in 13 blocks' ../planted

# The run's own placement is the one that was printed.
"$@" 3 "$program" train --set data.path=data.h5 "${small[@]}" --set train.warmup_epochs=0 \
    --set train.max_steps=2 --set run.dir=run >../run.log 2>&1
for name in synthetic0 synthetic1; do
    cmp <(sed -n "s/^expert   $name: .*, owner/owner/p" ../three) \
        <(sed -n "s/^place   $name: owner/owner/p" ../run.log)
done
must_say 'place   token rows: the fullest rank has 1\.64 of' ../run.log
grep -Eq '"load_placed":1\.[0-9]+,"load_measured":[1-3]\.[0-9]+}' run/metrics.jsonl
rm -r run
