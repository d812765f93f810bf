#!/usr/bin/env bash
# cancel.sh PROGRAM SLURM: a job that is cancelled leaves a checkpoint and is not requeued.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm

export MLTFR_RUN=run MLTFR_LAUNCH="srun --mpi=pmix"
submit --ntasks=2 --time=60 "$MLTFR_HOME/jobs/train.sbatch" --config c.yaml
await 60 has_checkpoint run
scancel "$job"
await 60 grep -q "not requeued" mltfr-"$job".log
expect_end "$job" CANCELLED 75
expect_text mltfr-"$job".log "with a complete checkpoint"
