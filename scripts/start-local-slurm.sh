#!/usr/bin/env bash
# Starts a Slurm cluster of one node on this machine, for the tests of capi ablate --executor slurm. Needs root, slurm-wlm and munge (Debian 12: Slurm 22.05).
#   scripts/start-local-slurm.sh FOLDER [CONTROL_PORT NODE_PORT]   state, logs and slurm.conf in FOLDER; then: export SLURM_CONF=FOLDER/slurm.conf
#   scripts/start-local-slurm.sh --stop FOLDER
# It listens on loopback only. The partition `urgent` preempts jobs of `main`, which get their signal and are queued again. No accounting: sacct has nothing.
set -euo pipefail

if [ "${1:-}" = --stop ]; then
  folder=${2:?usage: start-local-slurm.sh --stop FOLDER}
  for daemon in slurmctld slurmd; do
    pid=$(cat "$folder/$daemon.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
  exit 0
fi

folder=$(realpath -m "${1:?usage: start-local-slurm.sh FOLDER [CONTROL_PORT NODE_PORT]}")
control=${2:-26917} node=${3:-26918}
host=$(hostname -s)
mkdir -p "$folder"/{state,spool,log}

# One munged serves every cluster of the machine, and stays.
if ! munge --no-input >/dev/null 2>&1; then
  mkdir -p /run/munge
  chown munge /run/munge
  su -s /bin/sh munge -c munged
fi

cat > "$folder/slurm.conf" <<CONF
ClusterName=capi
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$control
SlurmdPort=$node
SlurmUser=root
AuthType=auth/munge
# Jobs that are queued again wait for this many seconds (default 120).
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=5
ReturnToService=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd -N "$host"
for _ in $(seq 100); do
  sinfo --noheader --states=idle 2>/dev/null | grep -q idle && exit 0
  sleep 0.2
done
echo "the node is not idle after 20 s: see $folder/log" >&2
exit 1
