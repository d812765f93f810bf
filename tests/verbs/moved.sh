#!/usr/bin/env bash
# Files under other names: token spaces that a run made of tables, and data written over themselves.
#   moved.sh PROGRAM DIRECTORY MAKE_EXAMPLE
set -euo pipefail
program=$1 make_example=$3
rm -rf "$2"
mkdir -p "$2"
cd "$2"

python3 "$make_example" example
data=example/loans.csv
"$program" train --quiet --set data.path="$data" --set model.dim=16 --set filter.pool=64 --set filter.top_m=8 \
    --set train.epochs=2 --set train.warmup_epochs=1 --set tokens.shared_dim=8 --set tokens.specific_dim=8 \
    --set tokens.tables='[{name: small, path: example/small/table.npy}, {name: large, path: example/large/table.npy}]'
"$program" evaluate --set run.dir=run --split test | grep ndcg >before
mv run/spaces.h5 spaces.h5
rm -r example/small example/large
"$program" evaluate --set run.dir=run --set tokens.path=spaces.h5 --split test | grep ndcg >after
cmp before after
echo 'tokens: {path: spaces.h5}' >spaces.yaml
best=$(sed -n 's/.*"best_checkpoint":"\([^"]*\)".*/\1/p' run/result.json)
"$program" evaluate --checkpoint "run/$best" --config spaces.yaml --split test --out e.json | grep ndcg >after
cmp before after

# Reading and writing one file: what is read stays until the new one is whole.
"$program" data "$data" --out d.h5 >all
"$program" data d.h5 --out d.h5 --set data.min_user=10 >fewer
"$program" data d.h5 >again
cmp <(head -n 1 fewer | cut -d' ' -f1-3) <(head -n 1 again | cut -d' ' -f1-3)
if cmp -s all fewer; then echo "no user less" && exit 1; fi
mkdir shut.h5.part # in the way
rc=0
"$program" data d.h5 --out shut.h5 >out 2>&1 || rc=$?
[[ $rc == 1 && ! -e shut.h5 ]]
echo "as expected"
