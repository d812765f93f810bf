#!/usr/bin/env bash
# A Slurm of our own on this host, for the tests of jobs/:
#
#     slurm.sh start DIR    munged, slurmctld and two slurmd, with all their files in DIR
#     slurm.sh stop DIR     end the jobs, then these processes; DIR is removed
#
# DIR must be short (there is a socket in it).  Then SLURM_CONF=DIR/slurm.conf makes sbatch, srun
# and the others use it.  Starting what runs already, or stopping what does not, is no error.  Status
# 77, with the reason, where it cannot run here.
#
# Several slurmd on one host are taken for several nodes once each has its own port, spool, TmpFS
# (PMIx has its sockets there) and, in namespaces of its own, host name and /dev/shm (where Open MPI
# would mix up the files of two nodes).  Without the right to make namespaces there is one node.
set -euo pipefail
action=${1-} dir=${2-}
daemons=(munged slurmctld slurmd1 slurmd2)
export SLURM_CONF=$dir/slurm.conf
PATH=$PATH:/usr/sbin

skip() {
    echo "skipped: $*"
    exit 77
}

# runs NAME: is the process that was started as NAME still there?  Its number alone says nothing:
# by now it may be another program's.
runs() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${1%[12]}" ]]
}

# launch NAME COMMAND...: in the background, in a session of its own.
launch() {
    local name=$1
    shift
    ! runs "$name" || return 0
    setsid "$@" >>"$dir/$name.out" 2>&1 </dev/null &
    echo $! >"$dir/$name.pid"
}

# await WHAT COMMAND...: up to 30 s.
await() {
    local what=$1 end=$((SECONDS + 30))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            tail -n 5 "$dir"/*.out "$dir"/*.log >&2 || :
            skip "$what does not come up"
        fi
        sleep 0.1
    done
}

# Four ports in a row that nobody listens on.
free_ports() {
    local first port
    while :; do
        first=$((20000 + RANDOM % 10000))
        for port in "$first" $((first + 1)) $((first + 2)); do
            ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue 2
        done
        echo "$first"
        return
    done
}

write_conf() {
    local host port i
    host=$(hostname -s)
    port=$(free_ports)
    cat >"$SLURM_CONF" <<END
ClusterName=mltfr
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
TmpFS=$dir/tmp.%n
SlurmctldPidFile=$dir/own.slurmctld
SlurmdPidFile=$dir/own.%n
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=2
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MailProg=/bin/true
SlurmdParameters=config_overrides
END
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$dir/spool.n$i" "$dir/tmp.n$i"
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=8"
    done >>"$SLURM_CONF"
    echo "PartitionName=all Nodes=ALL Default=YES State=UP" >>"$SLURM_CONF"
}

is_up() {
    (($(sinfo -h -N -t idle,mixed,allocated -o %n | wc -l) == nodes))
}

start() {
    local program i space=()
    ((EUID == 0)) || skip "only root can start Slurm for any user"
    for program in munged slurmctld slurmd; do
        command -v "$program" >/dev/null || skip "$program is not installed (slurm-wlm, munge)"
    done
    nodes=1
    if unshare --mount --uts --ipc true 2>/dev/null; then
        nodes=2 space=(unshare --mount --uts --ipc --propagation private)
    fi
    mkdir -p "$dir/state"
    [[ -f $SLURM_CONF ]] || write_conf
    [[ -f $dir/munge.key ]] || (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")

    launch munged munged --foreground --force --key-file="$dir/munge.key" \
        --socket="$dir/munge.socket" --pid-file="$dir/own.munged" --log-file="$dir/munged.log" \
        --seed-file="$dir/munge.seed"
    await munged munge -n --socket="$dir/munge.socket"
    launch slurmctld slurmctld -D
    await slurmctld scontrol ping
    for ((i = 1; i <= nodes; i++)); do
        # shellcheck disable=SC2016 # $1 is for the inner shell
        launch "slurmd$i" "${space[@]}" sh -c \
            '[ "$2" = 1 ] || { hostname "$1" && mount -t tmpfs shm /dev/shm; } && exec slurmd -D -N "$1"' \
            sh "n$i" "$nodes"
    done
    await "every slurmd" is_up
    echo "nodes: $nodes, SLURM_CONF=$SLURM_CONF"
}

stop() {
    local name jobs
    [[ -f $SLURM_CONF ]] || return 0
    if runs slurmctld; then
        mapfile -t jobs < <(squeue -h -o %A | sort -u)
        ((${#jobs[@]} == 0)) || scancel --full --signal=KILL "${jobs[@]}" 2>/dev/null || :
        ((${#jobs[@]} == 0)) || scancel "${jobs[@]}" 2>/dev/null || :
        for ((i = 0; i < 100; i++)); do
            [[ $(squeue -h) ]] || break
            sleep 0.1
        done
    fi
    for name in "${daemons[@]}"; do
        ! runs "$name" || kill "$(cat "$dir/$name.pid")"
    done
    for name in "${daemons[@]}"; do
        for ((i = 0; i < 100; i++)); do
            runs "$name" || break
            sleep 0.1
        done
        ! runs "$name" || kill -KILL "$(cat "$dir/$name.pid")"
    done
    rm -rf "$dir"
}

case $action in
start | stop) "$action" ;;
*)
    echo "usage: $0 start|stop DIR" >&2
    exit 2
    ;;
esac
