#!/usr/bin/env bash
# Rerun the study, from a clean clone: every run of jobs/study/runs.txt that is not done yet.
#
#     bash jobs/study.sh [OPTION...] DATA_FOLDER [OUT_FOLDER]
#
#   --only REGEX   only runs whose name, DATA/VARIANT/SEED, matches
#   --seeds A-B    seeds A to B, or A alone (1-5)
#   --runs FILE    another list of runs
#   --list         number, state (done, partial, open, changed) and name of the runs; nothing runs
#   --prepare      check the data and make the token spaces only
#   --task N       run number N of the list only, as jobs/study.sbatch does
#
# DATA_FOLDER holds the files of data/README.md, as .txt or .txt.xz; OUT_FOLDER (./study) gets
# runs/DATA/VARIANT/SEED, spaces/ and data/.  RANKS (1) is the ranks of a run, PARALLEL (cores /
# RANKS) the runs at a time.  A run that is done is skipped, one that was stopped goes on from its
# checkpoint, one that another study.sh is at is left to it.  INT, TERM and USR1 stop all with
# checkpoints.
#
# Exit status: 0 all are done; 1 some failed (they are named at the end; the others went on), or a
# data file is not what it should be; 2 usage; 75 some were stopped, or left to another study.sh.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$home/jobs/setup.sh"
. "$home/jobs/job.sh"
shopt -s inherit_errexit

readonly BUSY=100 # status of a run that another study.sh is at

die() {
    local rc=$1
    shift
    echo "study.sh: $*" >&2
    exit "$rc"
}

# Files of the list are taken from the root of the checkout.
from_home() {
    [[ $1 == /* ]] && echo "$1" || echo "$home/$1"
}

# ---- the list ---------------------------------------------------------------------------------

common=() datasets=() variants=()
declare -A table=() space_tables=() space_settings=() data_config=() data_file=()

read_list() {
    local -a word
    while read -ra word; do
        case "${word[0]-#} ${#word[@]}" in
        '#'*) ;;
        'common '*) common+=("${word[@]:1}") ;;
        'table 3') table[${word[1]}]=${word[2]} ;;
        'spaces '[3-9]*)
            space_tables[${word[1]}]=${word[2]}
            space_settings[${word[1]}]=${word[*]:3}
            ;;
        'data 4')
            datasets+=("${word[1]}")
            data_config[${word[1]}]=$(from_home "${word[2]}") data_file[${word[1]}]=${word[3]}
            [[ -f ${data_config[${word[1]}]} ]] || die 2 "$1: ${word[2]}: no such file"
            ;;
        'run '[4-9]* | 'run '[1-3][0-9]*) variants+=("${word[*]:1}") ;;
        *) die 2 "$1: not understood: ${word[*]}" ;;
        esac
    done <"$1"
}

names=() # of the runs that were asked for: DATA/VARIANT/SEED
declare -A run_space=() run_settings=()

# check_space VARIANT NAME
check_space() {
    local llm
    [[ -v space_tables[$2] ]] || die 2 "$1: no spaces $2"
    for llm in ${space_tables[$2]//,/ }; do
        [[ -v table[$llm] ]] || die 2 "spaces $2: no table $llm"
    done
}

# One seed of everything before the next one.
make_names() {
    local seed data line variant space on settings name
    for ((seed = first_seed; seed <= last_seed; seed++)); do
        for data in "${datasets[@]}"; do
            for line in "${variants[@]}"; do
                read -r variant space on settings <<<"$line"
                name=$data/$variant/$seed
                [[ (,$on, == *,$data,* || $on == all) && $name =~ $only ]] || continue
                [[ $space == - ]] || check_space "$variant" "$space"
                names+=("$name")
                run_space[$name]=$space run_settings[$name]=$settings
            done
        done
    done
    ((${#names[@]})) || die 2 "no run matches '$only'"
}

# What makes token spaces what they are; kept beside them.
space_identity() {
    local llm
    echo "spaces $1: ${space_tables[$1]} ${space_settings[$1]}"
    for llm in ${space_tables[$1]//,/ }; do
        echo "table $llm: ${table[$llm]}"
    done
}

# The same of a run, but for the paths of its data.
identity() {
    local space=${run_space[$1]}
    echo "$1: ${common[*]} ${run_settings[$1]}"
    [[ $space == - ]] || space_identity "$space"
    cat "${data_config[${1%%/*}]}"
}

state_of() {
    local dir=$out/runs/$1
    if ! compgen -G "$dir/checkpoints/*.h5" >/dev/null; then
        echo open
    elif ! identity "$1" | cmp -s - "$dir/study.txt"; then
        echo changed
    elif [[ -e $dir/result.json && -e $dir/test-users.csv ]]; then
        echo "done"
    else
        echo partial
    fi
}

list() {
    local i
    for i in "${!names[@]}"; do
        printf '%4d  %-8s%s\n' "$((i + 1))" "$(state_of "${names[i]}")" "${names[i]}"
    done
}

# ---- data and token spaces --------------------------------------------------------------------

# data_path FILE: where it is; unpacked, where only FILE.xz is there.
data_path() {
    local made=$out/data/$1 cached
    if [[ -f $folder/$1 ]]; then
        echo "$folder/$1"
    elif [[ -f $folder/$1.xz ]]; then
        mkdir -p "$out/data"
        xz -dc "$folder/$1.xz" >"$made.part"
        mv "$made.part" "$made"
        echo "$made"
    elif cached=$(compgen -G "$home/data/cache/*/$1"); then
        echo "$cached"
    else
        die 2 "$1 is neither in $folder, also not as .xz, nor in data/cache: see data/README.md"
    fi
}

declare -A path_of=() # of data sets

check_data() {
    local file=${data_file[$1]} known sum
    path_of[$1]=$(data_path "$file")
    known=$(sed -n "s,  [^/]*/$file\$,,p" "$home/data/files.sha256")
    sum=$(sha256sum <"${path_of[$1]}")
    if [[ -z $known ]]; then
        echo "study.sh: $file is not in data/files.sha256: not checked" >&2
    elif [[ $known != "${sum%% *}" ]]; then
        die 1 "${path_of[$1]}: the text is not that of data/files.sha256"
    fi
}

# The token spaces NAME, unless they are there.
make_spaces() {
    local file=$out/spaces/$1.h5 made=$out/spaces/$1.txt llm path settings rc=0
    if [[ -e $file ]]; then
        space_identity "$1" | cmp -s - "$made" || die 1 "$file was made from other tables or settings: move it away"
        return
    fi
    space_identity "$1" >"$made"
    {
        printf 'tokens:\n  tables:\n'
        for llm in ${space_tables[$1]//,/ }; do
            path=$(from_home "${table[$llm]}")
            [[ -f $path ]] || die 2 "$path is missing: see data/README.md"
            printf '    - {name: %s, path: "%s"}\n' "$llm" "$path"
        done
    } >"$out/spaces/$1.yaml"
    read -ra settings <<<"${space_settings[$1]}"
    echo "spaces  $1"
    job_run "${launch[@]}" "${program[@]}" tokens --config "$out/spaces/$1.yaml" \
        "${settings[@]/#/--set=}" --out "$file" >"$out/spaces/$1.log" 2>&1 || rc=$?
    ((rc != 138)) || die 75 "spaces $1: stopped" # by USR1
    ((rc == 0)) || die "$rc" "spaces $1: $(tail -n 1 "$out/spaces/$1.log")"
}

# For the runs that are not done; one study.sh at a time.
prepare() {
    local name data space lock
    mkdir -p "$out/spaces"
    exec {lock}>"$out/spaces/.lock"
    flock "$lock"
    for name; do
        data=${name%%/*} space=${run_space[$name]}
        [[ -v path_of[$data] ]] || check_data "$data"
        [[ $space == - ]] || make_spaces "$space"
    done
    exec {lock}>&-
}

# ---- runs -------------------------------------------------------------------------------------

# Train and rank the test items.
run_one() {
    local name=$1 dir=$out/runs/$1 space=${run_space[$1]} settings
    read -ra settings <<<"${common[*]} ${run_settings[$name]}"
    settings+=("data.path=${path_of[${name%%/*}]}" "train.seed=${name##*/}" "run.dir=$dir")
    [[ $space == - ]] || settings+=("tokens.path=$out/spaces/$space.h5")
    job_run "${launch[@]}" "${program[@]}" train --progress=none \
        --config "${data_config[${name%%/*}]}" \
        "${settings[@]/#/--set=}" || return
    job_run "${launch[@]}" "${program[@]}" evaluate --set run.dir="$dir" --split test \
        --metrics coverage,popularity,length --per-user "$dir/test-users.csv"
}

# run_alone NAME: its status, or BUSY.  The lock is held until the program itself has ended.
run_alone() {
    local dir=$out/runs/$1 state
    mkdir -p "$dir"
    exec 9>"$dir/.lock"
    flock -n 9 || return "$BUSY"
    state=$(state_of "$1")
    [[ $state != "done" ]] || return 0
    if [[ $state == changed ]]; then
        echo "made with other settings (study.txt): move $dir away"
        return 1
    fi >>"$dir/study.log"
    identity "$1" >"$dir/study.txt"
    run_one "$1" >>"$dir/study.log" 2>&1
}

declare -A running=() # name by process
failed=() left=0 stopping=

# Wait until one has ended, and say how.
reap() {
    local pid='' rc=0 name last
    wait -n -p pid || rc=$?
    [[ -n ${pid-} ]] || return 0 # a signal
    name=${running[$pid]}
    unset "running[$pid]"
    last=$(tail -n 1 "$out/runs/$name/study.log" 2>/dev/null) || :
    # What is told to stop while it ranks the test items has no checkpoint to make.
    ((rc <= 128)) || [[ -z $stopping ]] || rc=75
    case $rc in
    0) echo "done    $name: $last" ;;
    75 | "$BUSY")
        left=$((left + 1))
        [[ $rc == 75 ]] && echo "stopped $name" || echo "busy    $name"
        ;;
    *)
        failed+=("failed  $name: status $rc: $last")
        echo "${failed[-1]}"
        ;;
    esac
}

run_all() {
    local name
    trap 'stopping=1; kill -USR1 "${!running[@]}" 2>/dev/null || :' INT TERM USR1
    for name; do
        while ((${#running[@]} >= parallel)); do reap; done
        [[ -z $stopping ]] || break
        echo "start   $name"
        run_alone "$name" &
        running[$!]=$name
    done
    while ((${#running[@]})); do reap; done
    trap - INT TERM USR1
}

# ---- command line -----------------------------------------------------------------------------

only='' seeds=1-5 runs=$home/jobs/study/runs.txt task='' what=run

read_options() {
    while [[ ${1-} == --* ]]; do
        case $1 in
        --only | --seeds | --runs | --task)
            (($# > 1)) || die 2 "$1 needs a value"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --list | --prepare) what=${1#--} ;;
        --help)
            sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
            exit
            ;;
        *) die 2 "unknown option $1; see --help" ;;
        esac
        shift
    done
    (($# == 1 || $# == 2)) || die 2 "usage: study.sh [OPTION...] DATA_FOLDER [OUT_FOLDER]; see --help"
    [[ $seeds =~ ^[0-9]+(-[0-9]+)?$ ]] || die 2 "--seeds $seeds: A-B or A is wanted"
    first_seed=${seeds%-*} last_seed=${seeds#*-}
    [[ -f $runs ]] || die 2 "$runs: no such file"
    folder=$(realpath -e "$1") || exit 2
    out=$(realpath -m "${2:-study}")
}

# Open MPI needs no launcher for one rank, but within a job of Slurm it looks for one.
choose_launcher() {
    local ranks=${RANKS:-1}
    if [[ -z ${MLTFR_LAUNCH-} && -z ${SLURM_JOB_ID-} ]]; then
        MLTFR_LAUNCH="setsid mpirun -q -np $ranks --bind-to none" # mpirun would end at a terminal's INT
        ((ranks > 1)) || MLTFR_LAUNCH='env'
    fi
    job_begin "$ranks"
    mpi_environment
    parallel=${PARALLEL:-$(($(nproc) / ranks))}
    ((parallel > 0)) || parallel=1
}

main() {
    local name todo=()
    read_options "$@"
    read_list "$runs"
    make_names
    if [[ $what == list ]]; then
        list
        return
    fi
    if [[ -n $task ]]; then
        [[ $task =~ ^[1-9][0-9]*$ && -v names[task-1] ]] || die 2 "--task $task: there are ${#names[@]} runs"
        names=("${names[task - 1]}")
    fi
    choose_launcher
    for name in "${names[@]}"; do
        [[ $(state_of "$name") == "done" ]] || todo+=("$name")
    done
    echo "$((${#names[@]} - ${#todo[@]})) of ${#names[@]} runs are done"
    prepare "${todo[@]}"
    [[ $what == run ]] || return 0
    run_all "${todo[@]}"
    if ((${#failed[@]})); then
        printf '%s\n' "${#failed[@]} failed:" "${failed[@]}"
        return 1
    fi
    [[ -z $stopping ]] && ((left == 0)) || return 75
}

# On one line, which bash has read whole: the file may change while a study runs.
main "$@"; exit
