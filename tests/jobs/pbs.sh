#!/usr/bin/env bash
# pbs.sh PROGRAM: train.pbs with a stand-in for PBS: it stops before the time is up and submits the
# next piece, not for ever.
# shellcheck source=tests/jobs/job_test.sh
. "${BASH_SOURCE[0]%/*}/job_test.sh"

mkdir bin
printf '#!/bin/sh\necho "    Resource_List.walltime = 00:01:03"\n' >bin/qstat
chmod +x bin/qstat
printf 'n1\nn1\n' >nodes
export PATH=$PWD/bin:$PATH PBS_O_WORKDIR=$PWD PBS_NODEFILE=nodes PBS_JOBID=1
export MLTFR_RUN=run MLTFR_ARGS="--resume=no --config c.yaml" MLTFR_MAX_RESTARTS=1
# shellcheck disable=SC2016 # for the job to expand
export MLTFR_RESUBMIT='echo "$MLTFR_RESTARTS" >>again'

piece() {
    local rc=0
    bash "$MLTFR_HOME/jobs/train.pbs" >piece.log 2>&1 || rc=$?
    ((rc == 75)) || fail "status $rc instead of 75"
    expect_text piece.log "run.stop_after is in"
}
piece
MLTFR_RESTARTS=1 piece
expect_text piece.log "resume  run/checkpoints"

# Where PBS does not answer, the run goes on without a limit.
printf '#!/bin/sh\nexit 1\n' >bin/qstat
rc=0
MLTFR_ARGS="--config c.yaml --set run.stop_after=1" bash "$MLTFR_HOME/jobs/train.pbs" >piece.log 2>&1 || rc=$?
((rc == 75)) || fail "status $rc instead of 75 without qstat"
expect_text piece.log "qstat tells no walltime"
[[ $(sort -u again) == 1 ]] || fail "submitted again: $(cat again)"
