#!/bin/sh
# Under a Slurm of our own, on this machine alone: tasks of srun know of each other, launch/cluster/job.sbatch trains
# to the bits of mpirun, and a job that is told that its time is nearly up saves, is queued again and goes on.
limbeck=$1
dir=$2/slurm
src=$3
for p in slurmctld slurmd srun sbatch mpirun; do
    command -v $p >/dev/null || { echo "skipped: no $p; install slurmctld slurmd slurm-client"; exit 0; }
done
[ "$(id -u)" -eq 0 ] || { echo "skipped: slurmd runs as root only"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir/state" "$dir/spool" || exit 1
host=$(hostname -s)
port=$((20000 + $$ % 20000))
export SLURM_CONF="$dir/slurm.conf"
cat >"$SLURM_CONF" <<C
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
C
slurmctld -D -f "$SLURM_CONF" >"$dir/slurmctld.log" 2>&1 & controller=$!
slurmd -D -f "$SLURM_CONF" -N "$host" >"$dir/slurmd.log" 2>&1 & node=$!
trap 'scancel -q -u root 2>/dev/null; sleep 1; kill $node $controller 2>/dev/null; wait' EXIT
i=0
until sinfo -h -o %T 2>/dev/null | grep -q idle; do
    i=$((i + 1))
    [ $i -lt 300 ] && kill -0 $controller 2>/dev/null && kill -0 $node 2>/dev/null || {
        echo "skipped: Slurm does not start here: $(cat "$dir/slurmctld.log" "$dir/slurmd.log" | tail -n 1)"
        exit 0
    }
    sleep 0.2
done
srun --mpi=list 2>&1 | grep -q pmix || { echo "skipped: this Slurm has no PMIx"; exit 0; }
fail() { echo "FAILED: $*"; tail -n 40 "$dir/job.log" "$dir/out" "$dir/slurmctld.log"; exit 1; }

# tasks that do and that do not know of each other
srun --mpi=pmix -n 2 "$limbeck" doctor --json >"$dir/out" 2>&1 || fail "srun --mpi=pmix"
grep -q '"found": "2 on 1 machine' "$dir/out" || fail "srun's tasks are not ranks of one job"
if srun --mpi=none -n 2 "$limbeck" doctor >"$dir/out" 2>&1; then fail "lone tasks were accepted"; fi
grep -q "srun started 2 tasks that do not know of each other" "$dir/out" || fail "no sentence for lone tasks"

cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 4000, test: 100, height: 16, width: 16, classes: 4}
split: {validation: 100}
model: {name: vgg, channels: [16, 0, 24]}
train: {epochs: 20, batch: 64, threads: 1, lr: 0.05}
Y
want=$(mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --set "run=$dir/other" 2>"$dir/out" |
    sed -n 's/^weights //p')
[ -n "$want" ] || fail "mpirun printed no weights"

submit() {
    LIMBECK=$limbeck sbatch --parsable --nodes=1 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=1 --time=30 \
        --output="$dir/job.log" "$src/launch/cluster/job.sbatch" train "$dir/run.yaml"
}
state() { scontrol -o show job "$job" | sed -n "s/.* $1=\([^ ]*\) .*/\1/p"; }
# wait_for SENTENCE COMMAND...: five minutes for the command to be true
wait_for() {
    sentence=$1; i=0; shift
    until "$@"; do i=$((i + 1)); [ $i -lt 1500 ] || fail "$sentence ($(state JobState))"; sleep 0.2; done
}
is_over() { case $(state JobState) in COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL) return 0 ;; esac; return 1; }
has_begun() { [ -s "$dir/run/model/history.jsonl" ] || is_over; }
is_queued_again() { [ "$(state Restarts)" = 1 ] || is_over; }
has_left() { [ "$(state JobState)" = PENDING ] && sinfo -h -o %T | grep -q idle || is_over; }
# Slurm leaves two minutes between; a few seconds are enough for slurmd to take what was revoked for gone.
has_ended() { [ "$(state JobState)" != PENDING ] || scontrol update "jobid=$job" StartTime=now 2>/dev/null; is_over; }

job=$(submit) || fail "sbatch"
wait_for "the first epoch did not end" has_begun
scancel --signal=USR1 "$job"
wait_for "the job was not queued again" is_queued_again
if [ "$(state Restarts)" = 1 ]; then # else it was faster than the signal
    grep -q "saved before the time was up" "$dir/job.log" || fail "it does not say why it starts again"
    wait_for "the node was not left" has_left
    sleep 5
fi
wait_for "the job did not end" has_ended
# Its own race: a job that starts again in the second in which its old right was revoked.
! grep -q "credential revoked" "$dir/slurmctld.log" ||
    { echo "skipped: Slurm took the new start for the old one"; exit 0; }
[ "$(state JobState)" = COMPLETED ] || fail "the job ended as $(state JobState)"
got=$(sed -n 's/^weights //p' "$dir/job.log")
[ "$got" = "$want" ] || fail "weights of the job: $got, of mpirun: $want"
echo "slurm: two tasks, stopped $(grep -c "starting again" "$dir/job.log") times, end in the bits of mpirun"
