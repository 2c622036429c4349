#!/bin/sh
# The files of launch/cluster: over-hosts goes on after a rank failed, job.sbatch decides by the exit code, the MPIJob
# is well formed and starts as many ranks as it has slots. The batch file under a real Slurm: test_slurm.sh.
limbeck=$1
dir=$2/cluster
src=$3/launch/cluster
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
unset SLURM_RESTART_COUNT RESTARTS MPI MPIRUN_OPTIONS
rm -rf "$dir" && mkdir -p "$dir/bin" || exit 1
fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }
: >"$dir/log"

# ---- over-hosts: the first training ends with 75 on one rank, the second is left alone
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 400, test: 100, height: 8, width: 8, classes: 4}
model: {name: vgg, channels: [8, 0, 12]}
train: {epochs: 2, batch: 64, threads: 1, lr: 0.05}
Y
cat >"$dir/bin/once" <<S
#!/bin/sh
[ "\$1" = doctor ] || [ -e "$dir/failed" ] || [ "\$OMPI_COMM_WORLD_RANK" = 1 ] || { : >"$dir/failed"; exit 75; }
[ "\$1" = doctor ] || while [ ! -e "$dir/failed" ]; do sleep 0.1; done
exec "$limbeck" "\$@"
S
cat >"$dir/bin/never" <<S
#!/bin/sh
[ "\$1" = doctor ] && exec "$limbeck" "\$@"
echo tried >>"$dir/tries"; exit 75
S
chmod +x "$dir/bin/once" "$dir/bin/never"
printf '# here\n\nlocalhost slots=2\n' >"$dir/hosts"
LIMBECK="$dir/bin/once" "$src/over-hosts" "$dir/hosts" train "$dir/run.yaml" >"$dir/log" 2>&1 || fail "it did not go on"
grep -q "a rank failed; going on from the last checkpoint (1 of 5)" "$dir/log" || fail "no second try"
got=$(sed -n 's/^weights //p' "$dir/log")
want=$(mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh \
    --set "run=$dir/other" 2>/dev/null | sed -n 's/^weights //p')
[ -n "$want" ] && [ "$got" = "$want" ] || fail "weights '$got', of mpirun '$want'"
printf 'localhost\n' >"$dir/one"
LIMBECK="$dir/bin/never" RESTARTS=2 "$src/over-hosts" "$dir/one" train "$dir/run.yaml" >"$dir/log" 2>&1
[ $? -eq 75 ] && [ "$(wc -l <"$dir/tries")" -eq 3 ] || fail "three tries, then exit code 75"
echo "# nobody" >"$dir/none"
"$src/over-hosts" "$dir/none" train "$dir/run.yaml" >"$dir/log" 2>&1
[ $? -eq 2 ] && grep -q "names no machine" "$dir/log" || fail "an empty hostfile"

# ---- job.sbatch: srun ends with CODE
cat >"$dir/bin/srun" <<'S'
#!/bin/sh
for word; do case $word in doctor) exit "${DOCTOR:-0}" ;; esac; done
exit "$CODE"
S
printf '#!/bin/sh\necho "requeued $2"\n' >"$dir/bin/scontrol"
chmod +x "$dir/bin/srun" "$dir/bin/scontrol"
# decides CODE EXIT REQUEUED [VARIABLE=VALUE...]
decides() {
    code=$1 want=$2 again=$3; shift 3
    env PATH="$dir/bin:$PATH" SLURM_JOB_ID=42 CODE="$code" "$@" sh "$src/job.sbatch" train run.yaml >"$dir/log" 2>&1
    got=$?
    [ $got -eq "$want" ] || fail "srun ends with $code: the job ends with $got, not $want"
    [ "$(grep -c "requeued 42" "$dir/log")" -eq "$again" ] || fail "srun ends with $code: queued again or not"
}
decides 0 0 0
decides 3 0 1
decides 75 0 1
decides 137 0 1
decides 143 0 1
decides 1 1 0
decides 2 2 0
decides 4 4 0
decides 75 75 0 SLURM_RESTART_COUNT=5
decides 75 0 1 SLURM_RESTART_COUNT=5 RESTARTS=6
decides 0 1 0 DOCTOR=1

# ---- mpijob.yaml
if python3 -c 'import yaml' 2>/dev/null; then
    python3 - "$src/mpijob.yaml" >"$dir/log" 2>&1 <<'P' || fail "mpijob.yaml"
import re, sys, yaml
job = yaml.safe_load(open(sys.argv[1]))
assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
spec = job["spec"]
assert set(spec) == {"slotsPerWorker", "sshAuthMountPath", "runPolicy", "mpiReplicaSpecs"}
assert set(spec["mpiReplicaSpecs"]) == {"Launcher", "Worker"}
for name, part in spec["mpiReplicaSpecs"].items():
    assert set(part) == {"replicas", "restartPolicy", "template"} and part["restartPolicy"] in ("Never", "OnFailure")
    pod = part["template"]["spec"]
    volumes = {v["name"] for v in pod["volumes"]}
    for c in pod["containers"]:
        assert {m["name"] for m in c["volumeMounts"]} <= volumes
        assert c["resources"]["limits"] == c["resources"]["requests"]
line = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["args"][0]
ranks = spec["mpiReplicaSpecs"]["Worker"]["replicas"] * spec["slotsPerWorker"]
assert [int(n) for n in re.findall(r"-n (\d+)", line)] == [ranks, ranks], line
P
fi
echo "cluster: restarts, decisions, MPIJob"
