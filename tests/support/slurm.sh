#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, for tests: as root, without systemd, cgroups and
# accounting, beside whatever else runs here (its own ports, sockets, keys and folders).
#   line=$(bash slurm.sh start FOLDER [LINE...]) || exit $?  # LINE of slurm.conf, as MinJobAge=2
#   eval "$line"                                             # export SLURM_CONF=...
#   bash slurm.sh stop FOLDER                                # cancels its jobs, ends its processes
# `start` returns when the node is idle. It exits with 77 and says why where that cannot be: not
# root, not installed, not up within 30 s.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

usage() {
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
skip() {
  echo "slurm.sh: $1" >&2
  exit 77
}

write_configuration() { # further lines
  local ports cpus memory node
  # Both are held while they are chosen, so they differ.
  read -r -a ports < <(python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))')
  node=$(hostname -s)
  cpus=$(nproc)
  memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
  # DefMemPerCPU: a job that names no memory would take all of the node's.
  # SchedulerParameters: by default a batch job waits for 3 s before it is looked at.
  # config_overrides: where the container shows fewer processors than the machine has, the node
  # would be drained for it.
  cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SwitchType=switch/none
ReturnToService=2
KillWait=5
MaxArraySize=1001
DefMemPerCPU=$((memory / cpus))
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
  (($# == 0)) || printf '%s\n' "$@" >>"$folder/slurm.conf"
  # slurmd loads a plugin for cgroups though nothing here asks for one: v1 then leaves them alone,
  # where v2 wants systemd.
  echo "CgroupPlugin=cgroup/v1" >"$folder/cgroup.conf"
}

start() {
  ((EUID == 0)) || skip "Slurm's daemons run jobs for others: needs root"
  local program
  for program in munged slurmctld slurmd sinfo sbatch python3; do
    command -v "$program" >/dev/null ||
      skip "$program is not installed (Debian: slurm-wlm, munge; scripts/bootstrap --dev)"
  done
  [[ ! -e $folder/slurm.conf ]] || { echo "slurm.sh: $folder is in use" >&2; exit 2; }
  # Its sockets hold the folder, the host and two numbers, and may have 107 characters.
  ((${#folder} <= 60)) || { echo "slurm.sh: a path of at most 60 characters: $folder" >&2; exit 2; }
  mkdir -p "$folder/state" "$folder/spool"
  write_configuration "$@"
  (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
  launch || give_up "does not start"
  local deadline=$((SECONDS + 30))
  until [[ $(sinfo -h -o %T 2>/dev/null) == idle ]]; do
    ((SECONDS < deadline)) ||
      give_up "is not up after 30 s, but '$(sinfo -h -o '%T %E' 2>&1 | tail -n 1)'"
    sleep 0.1
  done
  printf 'export SLURM_CONF=%q\n' "$SLURM_CONF"
}

# No output of a daemon may be the caller's, who reads until all of it is closed. --force: munged
# finds the permissions of a test's folder unusual.
launch() {
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
    --seed-file="$folder/munge.seed" </dev/null >"$folder/munged.out" 2>&1 &&
    slurmctld -f "$SLURM_CONF" </dev/null >"$folder/slurmctld.out" 2>&1 &&
    slurmd -f "$SLURM_CONF" </dev/null >"$folder/slurmd.out" 2>&1
}

give_up() { # why
  local log
  for log in "$folder"/{munged,slurmctld,slurmd}.{out,log}; do
    [[ -s $log ]] && { echo "--- the end of ${log##*/}" && tail -n 5 "$log"; } >&2
  done
  stop
  skip "Slurm $1"
}

# A process that ended stays in the table where nothing waits for orphans.
runs() { # pid, name
  [[ $(cat "/proc/$1/comm" 2>/dev/null) == "$2" ]] &&
    ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}

# Without cgroups Slurm loses a job's process whose parent ended; its environment still names the
# job and this cluster.
end_leftovers() {
  local process
  for process in /proc/[0-9]*; do
    if grep -qzxF "SLURM_CONF=$SLURM_CONF" "$process/environ" 2>/dev/null &&
      grep -qz '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null; then
      kill -9 "${process#/proc/}" 2>/dev/null || true
    fi
  done
}

stop() {
  local name pid deadline=$((SECONDS + 15))
  # What runs a job outlives slurmd, so jobs end first; one that ignores the signal after KillWait.
  if [[ -e $folder/slurmctld.pid ]] && timeout 5 scontrol ping >/dev/null 2>&1; then
    for name in PENDING RUNNING SUSPENDED; do
      timeout 5 scancel --state=$name 2>/dev/null || true
    done
    while [[ -n $(timeout 5 squeue -h 2>/dev/null) ]] && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  for name in slurmd slurmctld munged; do
    pid=$(cat "$folder/$name.pid" 2>/dev/null || echo none)
    runs "$pid" "$name" || continue
    kill "$pid"
    deadline=$((SECONDS + 5))
    while runs "$pid" "$name" && ((SECONDS < deadline)); do sleep 0.05; done
    ! runs "$pid" "$name" || kill -9 "$pid"
  done
  end_leftovers
  rm -f "$folder"/{slurm.conf,munge.socket,slurmd.pid,slurmctld.pid,munged.pid}
}

(($# >= 2)) || usage
command=$1
folder=$(realpath -m "$2")
shift 2
export SLURM_CONF=$folder/slurm.conf
case $command in
  start) start "$@" ;;
  stop) stop ;;
  *) usage ;;
esac
