#!/bin/sh
# A process that is alone where several were started says so, and how to start them; one that is meant to be alone works.
limbeck=$1
unset OMPI_COMM_WORLD_SIZE PMIX_SIZE PMI_SIZE SLURM_NTASKS SLURM_STEP_ID
dir=$2/alone
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 120, test: 100, height: 8, width: 8, classes: 4}
model: {name: mlp, hidden: [8]}
train: {epochs: 1, threads: 1}
Y
fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }

# refuse SENTENCE VARIABLE=VALUE...
refuse() {
    sentence=$1; shift
    if env "$@" "$limbeck" train "$dir/run.yaml" --fresh >"$dir/log" 2>&1; then fail "accepted: $*"; fi
    grep -q "$sentence" "$dir/log" || fail "no sentence with $*"
    [ ! -e "$dir/run/model/checkpoint.h5" ] || fail "it trained all the same: $*"
}
refuse "one process in a Slurm allocation of 4 tasks" SLURM_NTASKS=4
refuse "srun started 4 tasks that do not know of each other" SLURM_NTASKS=4 SLURM_STEP_ID=0
refuse "mpirun started one process inside each of 4" OMPI_COMM_WORLD_SIZE=1 PMI_SIZE=4
if mpirun --version 2>/dev/null | grep -q "Open MPI"; then # others abort by themselves when the launcher they were told of is not there
    refuse "mpirun started 4 processes, MPI sees 1" OMPI_COMM_WORLD_SIZE=4
    refuse "srun started 4 processes, MPI sees 1" PMI_SIZE=4
fi

env SLURM_NTASKS=1 "$limbeck" train "$dir/run.yaml" --fresh >"$dir/log" 2>&1 || fail "one process of one task"
env SLURM_NTASKS=4 OMPI_COMM_WORLD_SIZE=1 "$limbeck" train "$dir/run.yaml" --fresh >"$dir/log" 2>&1 || fail "mpirun -n 1 in an allocation of 4"
echo "a lone process is told"
