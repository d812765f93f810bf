#!/usr/bin/env bash
# study_array.sh PROGRAM SLURM: the runs of a study as tasks of an array, one of which is requeued.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"
need_slurm

python3 "$MLTFR_HOME/data/make_example.py" example
cat >runs.txt <<END
data loans $PWD/c.yaml loans.csv
run short   - all model.experts=false train.max_steps=8
run stopped - all model.experts=false train.max_steps=8 run.stop_after=5
END
submit --array=1-2 --ntasks=2 --time=60 --output=%a.log "$MLTFR_HOME/jobs/study.sbatch" \
    --runs runs.txt --seeds 3 example out
expect_end "${job}_1" COMPLETED 0
expect_end "${job}_2" COMPLETED 0 1
expect_text 1.log "done    loans/short/3: test  ndcg@10="
expect_text 2.log "stopped loans/stopped/3"
expect_text 2.log "done    loans/stopped/3: test  ndcg@10="
cmp out/runs/loans/{short,stopped}/3/test-users.csv
