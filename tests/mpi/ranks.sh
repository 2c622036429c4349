# tests/mpi/ranks.sh - sourced by the scripts beside it: a training on several ranks, what it ends in and how it fails. Each
# begins with an empty folder $dir, into which it writes a run.yaml, whose run is $dir/run; logs are $dir/log.* then.

# begin NAME LIMBECK FOLDER: the first two words of the script
begin() {
    limbeck=$2 dir=$3/$1
    command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
    rm -rf "$dir" && mkdir -p "$dir" || exit 1
}

fail() { echo "FAILED: $*"; cat "$dir"/log.*; exit 1; }

# need_gpus MODULE NCCL [real]: two GPUs or more, played unless real; $gpus is how many
need_gpus() {
    export LMB_CUDA_MODULE="$1" LMB_NCCL_MODULE="$2"
    [ -e "$1" ] && [ -e "$2" ] || { echo "skipped: no played GPU: built without the CUDA toolkit"; exit 0; }
    gpus=8
    [ "$3" = real ] && gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
    [ "$gpus" -ge 2 ] || { echo "skipped: no two CUDA devices"; exit 0; }
}

# weights RANKS OPTION...: the hash that `limbeck train` prints of the final weights
weights() {
    n=$1; shift
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" "$@" 2>"$dir/log.$n" | sed -n 's/^weights //p'
}

# stages STAGES MICROBATCHES: options
stages() { echo "--set train.pipeline.stages=$1 --set train.pipeline.microbatches=$2"; }

# refuse RANKS SENTENCE OPTION...
refuse() {
    n=$1; sentence=$2; shift 2
    if weights "$n" --fresh "$@" >"$dir/out" && [ -s "$dir/out" ]; then fail "accepted: $*"; fi
    grep -q "$sentence" "$dir/log.$n" || fail "no sentence for $*"
}

# keep RANKS OPTION...: a training whose checkpoint is kept from whichever step it is of, as a kill would leave it; its
# weights are in $dir/out
keep() {
    rm -rf "$dir/run" "$dir/kept" && mkdir -p "$dir/kept"
    weights "$@" >"$dir/out" &
    run=$!
    tries=0
    until cp "$dir/run/model/checkpoint.h5" "$dir/kept/" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || fail "no checkpoint was written"
        kill -0 $run 2>/dev/null || [ -f "$dir/run/model/checkpoint.h5" ] || fail "the training left no checkpoint"
        sleep 0.1
    done
    wait $run
}

# go_on RANKS OPTION...: weights, from the checkpoint that was kept
go_on() {
    rm -rf "$dir/run" && mkdir -p "$dir/run/model" && cp "$dir/kept/checkpoint.h5" "$dir/run/model/"
    weights "$@"
}

# rank N: its process. (Where a program is packed with its libraries, it has a longer name.)
rank() {
    pgrep -f "$limbeck[.a-z]* train $dir/run.yaml" | while read -r p; do
        tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$p"; done | head -1
}

# stuck SIGNAL WORDS RANKS OPTION...: rank 1 gets it in the middle of a training on played GPUs, which ends with 75 and with a
# sentence of these words. NCCL's patience is 0.8 of stall_s.
stuck() {
    signal=$1; words=$2; n=$3; shift 3
    rm -rf "$dir/run"
    LMB_PLAYED_PATIENCE=1 mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh "$@" \
        --set train.epochs=100000 --set train.stall_s=20 >"$dir/log.s" 2>&1 &
    job=$!
    i=0
    while [ ! -s "$dir/run/model/history.jsonl" ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i + 1)); done
    victim=$(rank 1)
    [ -n "$victim" ] || { kill $job; fail "rank 1 not found"; }
    kill -"$signal" "$victim"
    ( sleep 120; kill -9 $job ) >/dev/null 2>&1 & guard=$!
    wait $job; code=$?
    kill $guard 2>/dev/null
    kill -CONT "$victim" 2>/dev/null; kill -9 "$victim" 2>/dev/null
    [ $code -eq 75 ] || fail "exit code $code after $signal"
    grep -qE "$words" "$dir/log.s" || fail "after $signal no sentence with: $words"
    grep -E "$words" "$dir/log.s" | head -1
}
