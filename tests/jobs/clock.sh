#!/usr/bin/env bash
# clock.sh PROGRAM SLURM: without any signal a run stops before the end that Slurm announces.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm

export MLTFR_RUN=run MLTFR_MAX_RESTARTS=0
submit --ntasks=2 --time=1 --signal=B:USR1@1 "$MLTFR_HOME/jobs/train.sbatch" --config c.yaml \
    --set run.margin=45
expect_end "$job" FAILED 75
expect_text mltfr-"$job".log "SLURM_JOB_END_TIME is in"
expect_text mltfr-"$job".log "not requeued after 0 restarts"
(($(newest_step run) > 0)) || fail "no step before the stop"
