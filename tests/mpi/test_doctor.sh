#!/bin/sh
# `limbeck doctor`: by itself, over ranks, as JSON; what is needed and absent, or started wrongly, has an exit code.
# On a played GPU (third word: its module) it tries a kernel and times copies; several ranks try one GPU each, and
# measure a played NCCL (fourth word) between them.
limbeck=$1
unset OMPI_COMM_WORLD_SIZE PMIX_SIZE PMIX_RANK PMI_SIZE SLURM_NTASKS SLURM_STEP_ID SLURM_JOB_ID
dir=$2/doctor
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $*"; cat "$dir/out" "$dir/err"; exit 1; }
doctor() { "$limbeck" doctor "$@" >"$dir/out" 2>"$dir/err"; }

doctor || fail "it finds this machine wrong"
for topic in processor processors memory "locked memory" "open files" "shared memory" \
    "GPU driver" "CUDA libraries" GPUs "GPU code" "GPU kernel" "GPU memory" "GPU modes" "GPU copies" \
    MPI launcher ranks; do
    grep -Eq "^(ok|absent|limits) +$topic " "$dir/out" || fail "no row '$topic'"
    "$limbeck" doctor --help | tr '\n' ' ' | grep -q "[,:] $topic[,.]" || fail "--help does not name '$topic'"
done
doctor --need MPI || fail "MPI is needed, and there"
doctor --need MPI,nonsense
[ $? -eq 2 ] && grep -q "no topic 'nonsense'" "$dir/err" || fail "a topic that nobody knows"
LMB_CUDA_MODULE=/nonexistent.so doctor --need GPUs --json
[ $? -eq 1 ] && grep -q '"ok": false' "$dir/out" && grep -q "GPUs: none" "$dir/err" ||
    fail "GPUs are needed, and not there"
SLURM_NTASKS=4 doctor
[ $? -eq 75 ] && grep -q "one process in a Slurm allocation of 4 tasks" "$dir/err" || fail "started wrongly"

for n in 2 3; do
    mpirun --oversubscribe -n $n "$limbeck" doctor --collectives --json >"$dir/out" 2>"$dir/err" || fail "on $n ranks"
    grep -q "\"topic\": \"ranks\", \"health\": \"ok\", \"found\": \"$n on 1 machine" "$dir/out" ||
        fail "$n ranks are not counted"
    grep -q '"what": "sum by messages", "bytes": 16777216, "seconds": [0-9]' "$dir/out" ||
        fail "no time of a sum on $n ranks"
    if command -v python3 >/dev/null; then
        python3 -c 'import json, sys; d = json.load(sys.stdin)
assert d["ok"] and all(l["seconds"] > 0 for l in d["links"])' <"$dir/out" ||
            fail "no JSON, or no times"
    fi
done
mpirun --oversubscribe -n 2 -x LMB_CUDA_MODULE=/nonexistent.so "$limbeck" doctor --need GPUs >"$dir/out" 2>"$dir/err"
[ $? -eq 1 ] || fail "two ranks, no GPUs"

# a rank that runs another program
cp "$limbeck" "$dir/other" && printf ' ' >>"$dir/other"
mpirun --oversubscribe -n 1 "$limbeck" doctor : -n 1 "$dir/other" doctor >"$dir/out" 2>"$dir/err"
[ $? -eq 1 ] && grep -q "rank 1 on .* runs another program" "$dir/err" || fail "another program is not noticed"
if [ -e "${3-}" ]; then
    export LMB_CUDA_MODULE="$3" LMB_PLAYED_GPUS=2
    doctor --need "GPU kernel,GPU copies" || fail "a played GPU"
    for row in "GPU code +GPU 0 runs sm_90; GPU 1 runs sm_90" "GPU kernel +GPU 0 in [0-9.]* ms; GPU 1 in [0-9.]* ms" \
        "GPU memory +GPU 0: 15.0 of 16.0 GiB free; GPU 1: " "GPU copies +to the GPU [0-9.]* GB/s from pinned"; do
        grep -Eq "^ok +$row" "$dir/out" || fail "no row: $row"
    done
    LMB_PLAYED=wrong doctor
    [ $? -eq 1 ] && grep -q "GPU kernel: GPU 0 computes wrong: 1 of 1048576 numbers" "$dir/err" || fail "wrong numbers"
    mpirun --oversubscribe -n 2 "$limbeck" doctor >"$dir/out" 2>"$dir/err" || fail "two ranks with a GPU each"
    grep -Eq "^ok +GPU kernel +GPU 0 in [0-9.]* ms$" "$dir/out" || fail "rank 0 tries another GPU than its own"
    grep -q "GPU copies" "$dir/out" && fail "several ranks are no time to measure one GPU"
fi
# a launcher that shows each rank a GPU of its own: none is shared, and NCCL is measured between them
if [ -e "${4-}" ]; then
    export LMB_PLAYED_GPUS=own LMB_NCCL_MODULE="$4"
    mpirun --oversubscribe -n 2 "$limbeck" doctor --collectives --need GPUs >"$dir/out" 2>"$dir/err" ||
        fail "two GPUs with NCCL"
    grep -q "^ok  *ranks  *2 on 1 machine; .* 2 GPUs$" "$dir/out" || fail "two ranks with a GPU each are not counted so"
    for what in "sum, f32" "sum, bf16" "sum in parts" "to the next"; do
        [ "$(grep -c "^GPUs: $what  *[0-9]" "$dir/out")" -eq 3 ] || fail "no times of: GPUs: $what"
    done
fi
echo "doctor: alone, 2 and 3 ranks"
