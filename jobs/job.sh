# shellcheck shell=bash disable=SC2034 # the scripts that source this use the arrays
# Sourced by the job scripts: the site's settings, and a run that is told to stop, not killed.

# job_begin TASKS: read site.env, load modules, set the environment, find the program; sets the
# arrays launch and program.
job_begin() {
    local site=${MLTFR_SITE:-${BASH_SOURCE[0]%/*}/site.env} modules
    # shellcheck source=/dev/null
    [[ ! -f $site ]] || . "$site"
    read -ra modules <<<"${MLTFR_MODULES:-}"
    ((${#modules[@]} == 0)) || module load "${modules[@]}"

    read -ra launch <<<"${MLTFR_LAUNCH:-mpirun -q -np $1}"
    program=("${MLTFR_PROGRAM:-${BASH_SOURCE[0]%/*}/../build/mltfr_dist}")
    if ! command -v "${program[0]}" >/dev/null; then
        echo "${program[0]}: not a program; build it before a job is submitted" >&2
        exit 2
    fi
    export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 HDF5_USE_FILE_LOCKING=FALSE
    export OMPI_MCA_sharedfp=${OMPI_MCA_sharedfp-^sm} OMPI_MCA_fcoll=${OMPI_MCA_fcoll-individual}
}

# job_later RESTARTS RUN: sets the array later, what `train` gets last in a later piece of a run: a
# --resume=no or --resume=FILE of the user is meant until there is a checkpoint.
job_later() {
    later=()
    (($1 == 0)) || ! compgen -G "$2/checkpoints/step-*.h5" >/dev/null || later=(--resume=auto)
}

# job_run COMMAND...: its status.  USR1, TERM or INT to this script is USR1 to the command: mpirun
# and srun pass that on to every rank, while mpirun does not survive the others.  A trap ends `wait`
# before the command has ended: then it waits again.
job_run() {
    local told=0 before rc pid=
    trap 'told=$((told + 1)); [[ -z $pid ]] || kill -USR1 "$pid" 2>/dev/null || :' USR1 TERM INT
    "$@" &
    pid=$!
    ((told == 0)) || kill -USR1 "$pid"
    while :; do
        before=$told rc=0
        wait "$pid" || rc=$?
        ((told != before)) || break
    done
    trap - USR1 TERM INT
    return "$rc"
}

# slurm_begin: job_begin for a job of Slurm; says when it ends, where Slurm does not (before 23.02).
slurm_begin() {
    local end=
    # The number of an array's last task stands for the whole array.
    job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    job=${job:-$SLURM_JOB_ID}
    job_begin "$SLURM_NTASKS"
    [[ -n ${SLURM_JOB_END_TIME:-} ]] || end=$(squeue -h -j "$job" -o %e) || :
    if [[ $end == *T* ]]; then # else it is NONE
        SLURM_JOB_END_TIME=$(date -d "$end" +%s)
        export SLURM_JOB_END_TIME
    fi
}

# slurm_requeue: put this job back in the queue, to go on from its checkpoint, unless it is being
# ended for good or has been started often enough.
slurm_requeue() {
    local restarts=${SLURM_RESTART_COUNT:-0} most=${MLTFR_MAX_RESTARTS:-50}
    if ((restarts >= most)); then
        echo "stopped with a checkpoint; not requeued after $restarts restarts (MLTFR_MAX_RESTARTS)"
    elif [[ $(squeue -h -j "$job" -o %T) != RUNNING ]]; then
        echo "stopped with a checkpoint; not requeued, as the job is being ended"
    elif scontrol requeue "$job"; then
        echo "stopped with a checkpoint; requeued (restart $((restarts + 1)) of at most $most)"
    else
        echo "stopped with a checkpoint; this site does not requeue: see jobs/chain.sh"
    fi
}
