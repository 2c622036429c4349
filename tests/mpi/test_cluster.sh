#!/bin/sh
# The files of launch/cluster: over-hosts goes on after a rank failed, job.sbatch decides by the exit code, the MPIJobs
# fit the operator's schema (mpijob_schema.txt) and start as many ranks as they have slots. With a played GPU and a
# played NCCL (fourth and fifth word), a GPU that is stuck costs no bit. The batch file under a real Slurm: test_slurm.sh.
limbeck=$1
dir=$2/cluster
src=$3/launch/cluster
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
resumed=
unset SLURM_JOB_GPUS SLURM_RESTART_COUNT RESTARTS MPI MPIRUN_OPTIONS
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
# mpirun tells of a rank that was killed, by the kernel for want of memory or by hand, with 128 and the signal
cat >"$dir/bin/killed" <<S
#!/bin/sh
[ "\$1" = doctor ] && exec "$limbeck" "\$@"
echo tried >>"$dir/kills"; kill -\$KILLED \$\$
S
chmod +x "$dir/bin/killed"
LIMBECK="$dir/bin/killed" KILLED=KILL RESTARTS=2 "$src/over-hosts" "$dir/one" train "$dir/run.yaml" >"$dir/log" 2>&1
[ $? -eq 137 ] && [ "$(wc -l <"$dir/kills")" -eq 3 ] || fail "three tries, then the exit code of what was killed"
echo "# nobody" >"$dir/none"
"$src/over-hosts" "$dir/none" train "$dir/run.yaml" >"$dir/log" 2>&1
[ $? -eq 2 ] && grep -q "names no machine" "$dir/log" || fail "an empty hostfile"

# ---- job.sbatch: srun ends with CODE
cat >"$dir/bin/srun" <<'S'
#!/bin/sh
echo "srun $*"
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

# asks WORDS [VARIABLE=VALUE]: srun starts doctor with these
asks() {
    want=$1; shift
    env PATH="$dir/bin:$PATH" CODE=0 "$@" sh "$src/job.sbatch" train run.yaml >"$dir/log" 2>&1
    grep -q "^srun .* doctor $want\$" "$dir/log" || fail "doctor is not started with: $want"
}
asks "--collectives" LIMBECK=limbeck
asks "--collectives --need=GPUs" SLURM_GPUS_PER_NODE=8
asks "--collectives --need=GPUs" SLURM_GPUS_PER_TASK=1
asks "--collectives --need=GPUs" SLURM_JOB_GPUS=0,1

# ---- Containerfile: what it copies and starts is there
grep -o 'launch/[a-z/-]*' "$src/Containerfile" | while read -r f; do [ -e "$3/$f" ] || echo "$f"; done \
    >"$dir/log"
[ ! -s "$dir/log" ] || fail "the Containerfile names what is not there"

# ---- mpijob.yaml, mpijob-gpu.yaml: fields and types of the operator's schema, ranks, volumes; each mistake is found
here=$(dirname "$0")
python=
for p in python3 /usr/bin/python3; do "$p" -c 'import yaml' 2>/dev/null && { python=$p; break; }; done
job() { file=$1; shift; "$python" "$here/mpijob_check.py" "$here/mpijob_schema.txt" "$file" "$@" >"$dir/log" 2>&1; }
# spoilt EXPRESSION WORDS: by this sed the file is refused with these words
spoilt() {
    sed "$1" "$src/mpijob-gpu.yaml" >"$dir/bad.yaml"
    ! job "$dir/bad.yaml" nvidia.com/gpu=1 && grep -q "$2" "$dir/log" || fail "$1 is not refused with: $2"
}
if [ -n "$python" ]; then
    job "$src/mpijob.yaml" || fail "mpijob.yaml"
    job "$src/mpijob-gpu.yaml" nvidia.com/gpu=1 || fail "mpijob-gpu.yaml"
    spoilt 's/backoffLimit/backofLimit/' "no field backofLimit"
    spoilt 's/replicas: 2/replicas: "2"/' "no integer"
    spoilt 's/name: shm, mountPath/mountPath/' "no name"
    spoilt 's/slotsPerWorker: 1/slotsPerWorker: 2/' "on 4 slots"
    spoilt 's/ -x NCCL_DEBUG//' "does not take NCCL_DEBUG along"
    jobs="MPIJobs"
else
    jobs="MPIJobs not looked at (no Python with yaml)"
fi

# ---- a GPU that is stuck: the job ends with 75 and is queued again, and the same command ends in the bits of an
# undisturbed run. Rank 1 stops at its first sum after the first checkpoint; srun is mpirun.
if [ -e "${4-}" ] && [ -e "${5-}" ]; then
    export LMB_CUDA_MODULE="$4" LMB_NCCL_MODULE="$5" LMB_PLAYED_PATIENCE=1
    cat >"$dir/gpu.yaml" <<Y
run: $dir/stuck
data: {name: synthetic, train: 300, test: 60, height: 8, width: 8, classes: 4}
model: {name: vgg, channels: [8, 0, 12]}
train: {backend: cuda, epochs: 4, batch: 64, shard: 32, lr: 0.01, optimizer: adam, stall_s: 10}
Y
    cat >"$dir/bin/srun" <<'S'
#!/bin/sh
while :; do case $1 in --*) shift ;; *) break ;; esac; done
case $2 in doctor) exit 0 ;; esac
exec mpirun -n 2 --oversubscribe --bind-to none "$@"
S
    want=$("$dir/bin/srun" "$limbeck" train "$dir/gpu.yaml" --set "run=$dir/undisturbed" 2>"$dir/log" |
        sed -n 's/^weights //p')
    [ -n "$want" ] || fail "GPUs that nobody disturbs"
    # a machine that is busy for seconds looks stuck, too: then it is queued once more
    tries=0
    until grep -q '^weights ' "$dir/log"; do
        [ $tries -lt 5 ] || fail "five tries were not enough"
        env PATH="$dir/bin:$PATH" LIMBECK="$limbeck" SLURM_JOB_ID=42 SLURM_GPUS_PER_NODE=2 SLURM_RESTART_COUNT=$tries \
            LMB_PLAYED_STOP="$dir/stuck/model/checkpoint.h5" sh "$src/job.sbatch" train "$dir/gpu.yaml" \
            >"$dir/log" 2>&1 ||
            fail "the job is not queued again"
        [ $tries -gt 0 ] || cp "$dir/log" "$dir/log.first"
        tries=$((tries + 1))
    done
    grep -q "requeued 42" "$dir/log.first" && grep -q "nothing came of it for 8 s; rank 1 on " "$dir/log.first" ||
        { cp "$dir/log.first" "$dir/log"; fail "a rank that is stuck is not named, or the job not queued again"; }
    [ "$(sed -n 's/^weights //p' "$dir/log")" = "$want" ] || fail "stuck and queued again: other bits than $want"
    [ $tries -ge 2 ] || fail "rank 1 did not get stuck"
    resumed=", stuck GPUs go on after $((tries - 1)) restart to the same bits"
fi
echo "cluster: restarts, decisions, $jobs$resumed"
