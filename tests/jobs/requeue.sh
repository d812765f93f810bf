#!/usr/bin/env bash
# requeue.sh PROGRAM SLURM LAUNCHER: a job that gets USR1 before its time is up stops, is requeued,
# goes on and ends with the bits of a run that nobody stopped.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm
nodes=1
[[ $3 != srun* ]] || nodes=$(sinfo -h -N | wc -l)

# Slurm sends the signal 15 to 45 s after the start: it looks every 30 s, and ahead.
export MLTFR_RUN=run MLTFR_LAUNCH=$3
submit --nodes="$nodes" --ntasks=2 --time=1 --signal=B:USR1@15 "$MLTFR_HOME/jobs/train.sbatch" \
    --config c.yaml
await 120 is_requeued "$job"
expect_text mltfr-"$job".log SIGUSR1

# Now that there is a stop, the end can be put close to it.
stopped=$(newest_step run)
last=$((stopped + 4))
((stopped > 0)) || fail "no step before the stop"
sed -i "s/max_steps: 0/max_steps: $last/" c.yaml
expect_end "$job" COMPLETED 0 1
expect_text mltfr-"$job".log "step $stopped, epoch"

"$MLTFR_PROGRAM" train --config c.yaml --set checkpoint.every=0 --set run.dir=whole >whole.log
for run in run whole; do
    grep -E '"kind":"(step|test)"' "$run/metrics.jsonl" >"$run.lines"
done
cmp run.lines whole.lines
name=checkpoints/step-$(printf %08d "$last").h5
for group in params adam state; do
    h5diff "run/$name" "whole/$name" "$group"
done
[[ $(tail -n 1 mltfr-"$job".log) == "$(tail -n 1 whole.log)" ]] || fail "other test metrics"
