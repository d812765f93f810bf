#!/usr/bin/env bash
# When a run ends, and which epoch it takes: patience, the warm-up, nobody to validate.
#   ends.sh PROGRAM DIRECTORY
set -euo pipefail
program=$1
rm -rf "$2"
mkdir -p "$2"
cd "$2"

# start RUN SETTING...: its status; what it says is in RUN.log.  train: the same, and it has to end well.
resume=auto
start() {
    local run=$1
    shift
    "$program" train --resume="$resume" --set model.dim=16 --set filter.pool=64 --set run.dir="$run" \
        "${@/#/--set=}" >"$run.log" 2>&1
}
train() { start "$@" || fail "$1" "status $?"; }

fail() {
    echo "$1: $2"
    cat "$1.log"
    exit 1
}

# says RUN TEXT; hides RUN TEXT
says() { grep -qE -- "$2" "$1.log" || fail "$1" "does not say '$2'"; }
hides() { ! grep -qE -- "$2" "$1.log" || fail "$1" "says '$2'"; }
ends_at() { [[ $(ls "$1/checkpoints") == *"$(printf 'step-%08d.h5' "$2")" ]] || fail "$1" "not at step $2"; }

# Nothing is learned, so the first validation is the best.  Those of the warm-up are not held against it:
# the experts start in epoch 5, and the second validation after that is the last.  10 steps an epoch.
flat=(train.lr=0 train.warmup_epochs=4 train.patience=2 train.epochs=9 train.batch=64)
train patience "${flat[@]}"
says patience "epoch 5: the experts start"
says patience "no gain in 2 validations"
says patience "warning: the best epoch, 1, is one before the experts start"
ends_at patience 60

train alone "${flat[@]}" model.experts=false
ends_at alone 30
hides alone "experts start"

# Gone on with elsewhere the run has its patience again, as it has no best epoch.
resume=alone/checkpoints/step-00000030.h5 train other "${flat[@]}" model.experts=false
says other "the next validation is the best"
ends_at other 60

# A finished run says its result again, but not as an answer to other settings.
train alone "${flat[@]}" model.experts=false
says alone "alone: this run has ended"
start alone "${flat[@]}" model.experts=false train.batch=32 && fail alone "is taken for a run of other settings"
says alone "written with train.batch: 64, given now is 32"

# Of a run that has not ended the best checkpoint is taken, not the newest.
start part "${flat[@]}" run.stop_after=35 && fail part "is not stopped"
ends_at part 35
"$program" explain --set run.dir=part --users all >part.log 2>&1 && fail part "explains a checkpoint of the warm-up"
says part "step 10"

# Two items a user: none is left for validation.
for ((user = 1; user <= 80; user++)); do
    echo "u$user i$((user % 20)) i$(((user + 1) % 20))"
done >pairs.txt
train pairs data.path=pairs.txt data.format=sequences model.experts=false train.epochs=5 train.patience=2
says pairs "warning: no user has an item for validation: the last step is the result"
says pairs "^best +epoch 5,"
hides pairs "no gain"
echo "as expected"
