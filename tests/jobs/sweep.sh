#!/usr/bin/env bash
# sweep.sh PROGRAM SLURM: two tasks of an array, each with its own settings and directory, stop and
# are requeued one by one.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm

printf '%s\n' 'train.lr=0.001' 'train.lr=0.002 model.dropout=0.1' >sweep.txt
export MLTFR_RUN=runs MLTFR_SWEEP=sweep.txt
submit --array=1-2 --ntasks=1 --time=60 --output=%a.log "$MLTFR_HOME/jobs/sweep.sbatch" \
    --resume=no --config c.yaml --set train.max_steps=8 --set run.stop_after=5
expect_end "${job}_1" COMPLETED 0 1
expect_end "${job}_2" COMPLETED 0 1
for task in 1 2; do
    expect_text "$task.log" "resume  runs/$task/checkpoints/step-00000005.h5"
    expect_text "runs/$task/config.yaml" "lr: 0.00$task"
done
expect_text runs/2/config.yaml "dropout: 0.1"
