#!/usr/bin/env bash
# chain.sh PROGRAM SLURM: of four jobs in a chain two stop early, one ends the run, and one finds it
# ended; a job that depends on them ranks the test items.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm

export MLTFR_RUN=run
mapfile -t jobs < <(bash "$MLTFR_HOME/jobs/chain.sh" 4 --ntasks=2 --time=60 --output=%j.log -- \
    --resume=no --config c.yaml --set train.max_steps=12 --set run.stop_after=5)
chain=("${jobs[@]}")
((${#chain[@]} == 4)) || fail "${#chain[@]} jobs instead of 4"
submit --ntasks=1 --output=eval.log --dependency=afterok:"${chain[3]}" "$MLTFR_HOME/jobs/eval.sbatch"

expect_end "${chain[0]}" FAILED 75
expect_end "${chain[1]}" FAILED 75
expect_end "${chain[2]}" COMPLETED 0
expect_end "${chain[3]}" COMPLETED 0
expect_end "$job" COMPLETED 0
expect_text "${chain[1]}.log" "resume  run/checkpoints/step-00000005.h5"
expect_text "${chain[2]}.log" "resume  run/checkpoints/step-00000010.h5"
expect_text "${chain[3]}.log" "this run has ended"
for log in "${chain[3]}.log" eval.log; do
    [[ $(tail -n 1 "$log") == "$(tail -n 1 "${chain[2]}.log")" ]] || fail "$log: other test metrics"
done
