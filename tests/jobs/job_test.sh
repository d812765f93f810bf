# shellcheck shell=bash disable=SC2034 # the tests that source this use the variables
# Sourced by the tests of jobs/, which are called with a program and the directory that slurm.sh has
# started in: makes a directory to work in, with a small configuration in c.yaml, and cleans up.
set -euo pipefail
export MLTFR_PROGRAM=$1 SLURM_CONF=${2-}/slurm.conf MLTFR_SITE=/dev/null
MLTFR_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export MLTFR_HOME
jobs=() # submitted by this test

work=$(mktemp -d)
cd "$work"
trap finish EXIT

finish() {
    local rc=$?
    if ((rc)); then
        tail -n 20 -v "$work"/*.log >&2 2>/dev/null || :
        for job in "${jobs[@]}"; do
            scontrol show job "$job" >&2 || :
            scancel "$job" || :
        done
    fi
    rm -rf "$work"
    exit "$rc"
}

# Every step has a checkpoint: the run is slow where it is stopped, and quick where it is not.
cat >c.yaml <<'END'
train: {epochs: 100000, warmup_epochs: 1, max_steps: 0}
model: {dim: 16}
filter: {pool: 64}
eval: {every: 0}
checkpoint: {every: 1, keep: 2}
run: {margin: 0}
END

fail() {
    echo "$*" >&2
    exit 1
}

# The test cannot go on without Slurm.  What CI skips would never be seen to fail.
need_slurm() {
    [[ ! -f $SLURM_CONF ]] || return 0
    echo "skipped: there is no Slurm (tests/jobs/slurm.sh)"
    [[ ${CI-} != true ]] || exit 1
    exit 77
}

# submit ARGUMENT of sbatch...: the number is in job.
submit() {
    job=$(sbatch --parsable "$@")
    jobs+=("$job")
}

# field JOB NAME: what scontrol says of it.
field() {
    local all
    all=$(scontrol show job --oneliner "$1")
    [[ " $all" =~ \ $2=([^ ]*) ]] && echo "${BASH_REMATCH[1]}"
}

# await SECONDS COMMAND...: until it is true.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "waited too long: $*"
        sleep 0.2
    done
}

# Is it back in the queue, where Slurm keeps it for two minutes?
is_requeued() {
    [[ $(field "$1" JobState) == PENDING && $(field "$1" Reason) == BeginTime ]]
}

# Let it start at once, but not in the second it was ended: slurmd would take it for the one that was
# killed.
declare -A released
release() {
    local key
    key=$1/$(field "$1" Restarts)
    [[ ! -v released[$key] ]] || return 0
    released[$key]=1
    scontrol update JobId="$1" StartTime=now+2
}

# Has it ended?  One that is requeued is released.
has_ended() {
    case $(field "$1" JobState) in
    COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) return ;;
    esac
    ! is_requeued "$1" || release "$1"
    return 1
}

# expect_end JOB STATE STATUS [RESTARTS]
expect_end() {
    local seen
    await 100 has_ended "$1"
    seen="$(field "$1" JobState) $(field "$1" ExitCode) $(field "$1" Restarts)"
    [[ $seen == "$2 $3:0 ${4-0}" ]] || fail "job $1: $seen instead of $2 $3:0 ${4-0}"
}

# expect_text FILE TEXT
expect_text() {
    grep -qF -- "$2" "$1" || fail "$1 does not say: $2"
}

# Is there a checkpoint of a run?  Any one: they come and go.
has_checkpoint() {
    compgen -G "$1/checkpoints/step-*.h5" >/dev/null
}

# The step of the newest checkpoint of a run.
newest_step() {
    local names=("$1"/checkpoints/step-*.h5)
    echo $((10#$(tr -dc 0-9 <<<"${names[-1]%.h5}" | tail -c 9)))
}
