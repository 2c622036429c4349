#!/bin/sh
# `limbeck doctor`: by itself, over ranks, as JSON; what is needed and absent, or started wrongly, has an exit code.
limbeck=$1
unset OMPI_COMM_WORLD_SIZE PMIX_SIZE PMIX_RANK PMI_SIZE SLURM_NTASKS SLURM_STEP_ID SLURM_JOB_ID
dir=$2/doctor
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $*"; cat "$dir/out" "$dir/err"; exit 1; }
doctor() { "$limbeck" doctor "$@" >"$dir/out" 2>"$dir/err"; }

doctor || fail "it finds this machine wrong"
for topic in processor processors memory "locked memory" "open files" "shared memory" \
    "GPU driver" "CUDA libraries" GPUs MPI launcher ranks; do
    grep -Eq "^(ok|absent|limits) +$topic " "$dir/out" || fail "no row '$topic'"
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
echo "doctor: alone, 2 and 3 ranks"
