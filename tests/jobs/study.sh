#!/usr/bin/env bash
# study.sh PROGRAM: a small study is stopped, goes on, skips what is done, and says what failed.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"

python3 "$MLTFR_HOME/data/make_example.py" example
cat >loans.yaml <<'END'
data: {max_len: 20}
model: {dim: 16}
filter: {pool: 64, top_m: 8}
train: {batch: 128}
END
cat >runs.txt <<END
common checkpoint.keep=1 train.epochs=20 train.patience=0 train.warmup_epochs=1

# A comment.
table small $PWD/example/small/table.npy
table large $PWD/example/large/table.npy
spaces two small,large tokens.shared_dim=8 tokens.specific_dim=8
data loans $PWD/loans.yaml loans.csv
run plain  -   all         model.experts=false
run mltfr  two other,loans
run broken two loans       filter.pool=4
run never  two other
END

# study STATUS [ARGUMENT...]: what it says is in study.log.
study() {
    local rc=0 want=$1
    shift
    bash "$MLTFR_HOME/jobs/study.sh" --runs runs.txt --seeds 1-2 "$@" example out >study.log 2>&1 || rc=$?
    ((rc == want)) || fail "status $rc instead of $want: $*"
}

# expect_state NUMBER STATE NAME
expect_state() {
    study 0 --list
    [[ $(sed -n "$1p" study.log) =~ ^\ *$1\ +$2\ +$3$ ]] || fail "no $2 run $3 in line $1"
}

expect_state 2 open loans/mltfr/1
(($(wc -l <study.log) == 6)) || fail "not six runs"

# Stopped by a signal.
PARALLEL=2 bash "$MLTFR_HOME/jobs/study.sh" --runs runs.txt --seeds 1 --only 'plain|mltfr' example out \
    >stopped.log 2>&1 &
await 30 has_checkpoint out/runs/loans/plain/1
await 30 has_checkpoint out/runs/loans/mltfr/1
kill -USR1 $!
rc=0
wait $! || rc=$?
((rc == 75)) || fail "status $rc instead of 75"
expect_text stopped.log "stopped loans/plain/1"
expect_text stopped.log "stopped loans/mltfr/1"
expect_state 1 partial loans/plain/1

# A terminal's INT goes to all processes, and ends mpirun: it is kept from it.
RANKS=2 PARALLEL=1 env --default-signal=INT setsid bash "$MLTFR_HOME/jobs/study.sh" --runs runs.txt \
    --seeds 1 --only plain example out >stopped.log 2>&1 &
await 30 grep -q "^start" stopped.log
await 30 grep -q "^resume" out/runs/loans/plain/1/study.log
kill -INT -- -$!
rc=0
wait $! || rc=$?
((rc == 75)) || fail "status $rc instead of 75 after INT"
expect_text stopped.log "stopped loans/plain/1"

# One that another study.sh is at is left to it.
exec 8>out/runs/loans/plain/1/.lock
flock 8
study 75 --only plain/1
expect_text study.log "busy    loans/plain/1"
exec 8>&-

RANKS=2 PARALLEL=1 study 0 --task 2
expect_text study.log "done    loans/mltfr/1: test  ndcg@10="
expect_text out/runs/loans/mltfr/1/study.log "resume  $PWD/out/runs/loans/mltfr/1/checkpoints"
study 1
expect_text study.log "1 of 6 runs are done"
expect_text study.log "done    loans/mltfr/2: test  ndcg@10="
expect_text study.log "2 failed:"
(($(grep -c 'failed  loans/broken/2: status 2: mltfr_dist: error: .*filter.top_m' study.log) == 2)) ||
    fail "what failed is not said again at the end"
expect_text out/runs/loans/plain/1/study.log "resume  $PWD/out/runs/loans/plain/1/checkpoints"
expect_text out/runs/loans/plain/2/evaluate-test.json '"popularity"'
study 0 --only 'plain|mltfr'
expect_text study.log "4 of 4 runs are done"
if grep -q start study.log; then fail "something runs again"; fi

/usr/bin/python3 "$MLTFR_HOME/jobs/study_table.py" --reference plain --runs runs.txt out >table.log
(($(grep -c '| mltfr |' table.log) == 4)) || fail "not four tables with mltfr"

# Runs of the same seed are told apart in a report.
"$MLTFR_PROGRAM" report out/runs/loans/{plain,mltfr}/1 --out page.html
expect_text page.html "<h3>mltfr/1</h3>"
expect_text page.html "|Delta| / |h|"

# Token spaces of other settings are not taken.
sed -i 's/shared_dim=8/shared_dim=4/' runs.txt
expect_state 5 changed loans/mltfr/2
mv out/runs/loans/mltfr/2 kept
study 1 --only mltfr/2
expect_text study.log "two.h5 was made from other tables or settings: move it away"
sed -i 's/shared_dim=4/shared_dim=8/' runs.txt
mv kept out/runs/loans/mltfr/2

# Other settings are another run, and the data have to be those of the study.
sed -i 's/train.epochs=20/train.epochs=3/' runs.txt
expect_state 4 changed loans/plain/2
study 1 --only plain/2
expect_text study.log "made with other settings"
sed -i 's/loans.csv/beauty.txt/' runs.txt
cp example/loans.csv example/beauty.txt
study 1 --only plain/2
expect_text study.log "example/beauty.txt: the text is not that of data/files.sha256"

for words in --nothing "--seeds x" "--task 7" "--task 0" "--only nothing" "--runs none"; do
    # shellcheck disable=SC2086 # words
    study 2 $words
done
sed -i 's/^run never.*/run never/' runs.txt
study 2
expect_text study.log "runs.txt: not understood: run never"
