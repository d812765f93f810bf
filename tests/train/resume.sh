#!/usr/bin/env bash
# What a user sees when a run goes on: a damaged newest checkpoint, which array is bad, another
# configuration.   resume.sh PROGRAM DIRECTORY
set -euo pipefail
program=$1 script=$(realpath "${BASH_SOURCE[0]}")
rm -rf "$2"
mkdir -p "$2"
cd "$2"

small=(--set train.epochs=3 --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64)

# expect STATUS TEXT ARGS...: run the program; its output must hold TEXT.
expect() {
    local status=$1 text=$2 rc=0
    shift 2
    "$program" "$@" >out 2>&1 || rc=$?
    if [ "$rc" != "$status" ] || ! grep -qE -- "$text" out; then
        echo "mltfr_dist $*: status $rc, expected $status and '$text'"
        cat out
        exit 1
    fi
}

# harm FILE BYTE: turn a byte over.
harm() {
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    printf "%b" "$(printf '\\x%02x' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

expect 75 "stopped at step 5 .*auto goes on" train "${small[@]}" --set run.stop_after=5 --set checkpoint.every=1
newest=run/checkpoints/step-00000005.h5
before=run/checkpoints/step-00000004.h5
expect 0 "verified: .* and all else, have their checksums" inspect --verify "$newest"
expect 0 "checksums" inspect --verify run/synthetic.h5
python=python3
"$python" -c 'import h5py' 2>/dev/null || python=/usr/bin/python3 # another one may come first
if "$python" -c 'import h5py' 2>/dev/null; then
    "$python" "$(dirname "$script")/stranger.py" "$newest" run/synthetic.h5
else
    echo "no h5py: the checksums are not checked by another program"
fi

# item.weight is the first array of the file; its bytes begin at 2048.
cp "$newest" kept
harm "$newest" 2060
expect 1 "damaged: params/item.weight, rows 0 to 199" inspect --verify "$newest"
expect 1 "$newest: damaged: 1 of .* blocks" inspect --verify "$newest"
expect 1 "array 'params/item.weight' does not have its checksum" evaluate --checkpoint "$newest" "${small[@]}"
cp kept "$newest"
harm "$newest" 40
expect 1 "damaged outside its arrays" inspect --verify "$newest"

# Another configuration, before anything is lost by it.
cp kept "$newest"
for change in train.lr=0.5:train.lr model.dropout=0.1:model.dropout train.batch=100:train.batch \
    train.seed=7:train.seed data.max_len=20:data.max_len eval.exclude_seen=false:eval.exclude_seen; do
    expect 2 "written with ${change#*:}: .*, given now is .*cannot change within a run" \
        train "${small[@]}" --set "${change%:*}"
done
cp run/config.yaml config.yaml
expect 2 "train.schedule: constant, given now is cosine" train "${small[@]}" --set train.schedule=cosine

cmp run/config.yaml config.yaml

# The newest is cut short: the one before is used, and the newest is named.
truncate -s 100000 "$newest"
: >run/checkpoints/step-00000009.h5.part
expect 75 "warning: .*$newest.*it is skipped" train "${small[@]}" --set run.stop_after=1
grep -q "resume .*$before: step 4" out
[ ! -e run/checkpoints/step-00000009.h5.part ]

# What may change.
expect 0 "^test  ndcg" train --set train.epochs=4 --set train.patience=3 --set eval.every=2 --set bench.items=100 \
    --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64 --set checkpoint.keep=2 \
    --set checkpoint.async=true --set run.log_every=3
grep -q "checkpoints  .* MiB/s); training waited" out

# All of them damaged: a fresh start, said so.
rm run/result.json
for file in run/checkpoints/*.h5; do
    harm "$file" 2060
done
expect 0 "no checkpoint is whole: the run starts anew" train "${small[@]}"
echo "as expected"
