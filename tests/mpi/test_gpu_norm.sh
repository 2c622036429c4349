#!/bin/sh
# train.sync_batch_norm on ranks with a (played) GPU each: statistics of all ranks by NCCL in the middle of a step, recorded and replayed
# with it, or by way of the host. Losses are those of as many ranks of processors, and of one rank that has the whole batch; last batches
# are uneven. Without, they are not. With "real" as last word on the GPUs that are there, two or more.
. "$(dirname "$0")/ranks.sh"
begin gpu_norm "$1" "$2"
need_gpus "$3" "$4" "$5"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 421, test: 100, height: 8, width: 8, classes: 4, noise: 0.4}
split: {validation: 60}
model: {name: resnet, depth: 8, width: 4}
train: {backend: cuda, epochs: 2, batch: 96, mode: fast, lr: 0.02, threads: 1, sync_batch_norm: true}
Y
# loss RANKS OPTION...: of the last epoch; the log is kept
loss() {
    n=$1; shift
    rm -rf "$dir/run"
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh "$@" >"$dir/out" 2>"$dir/log.run" || return 1
    sed -n '$s/^[^,]*, "loss": *\([0-9.e-]*\).*/\1/p' "$dir/run/model/history.jsonl"
}
# near A B PART WHAT
near() {
    awk -v a="$1" -v b="$2" -v part="$3" 'BEGIN { d = a - b; exit !(a > 0 && b > 0 && (d < 0 ? -d : d) <= part * a) }' ||
        fail "$4: losses $1 and $2"
}
whole=$(loss 1 --set train.backend=portable --set train.sync_batch_norm=false) || fail "one rank"
cpu=$(loss 2 --set train.backend=portable) || fail "two processors"
near "$whole" "$cpu" 0.001 "two processors and one"
apart=$(loss 2 --set train.sync_batch_norm=false) || fail "two GPUs apart"
(near "$whole" "$apart" 0.001 "") >/dev/null && fail "without train.sync_batch_norm nothing is different: $apart"
for n in 2 4; do
    [ $n -le "$gpus" ] || continue
    gpu=$(loss $n) || fail "$n GPUs"
    near "$whole" "$gpu" 0.001 "$n GPUs and one processor"
    grep -q "full batches are replays" "$dir/log.run" || fail "steps of $n GPUs are not replayed"
    grep -q "on the host" "$dir/log.run" && fail "NCCL was not used"
    same=$(sed -n 's/^weights //p' "$dir/out")
    off=$(loss $n --set train.graph=off) || fail "$n GPUs step by step"
    near "$gpu" "$off" 0.001 "$n GPUs with and without replays"
    [ "$5" = real ] || [ "$(sed -n 's/^weights //p' "$dir/out")" = "$same" ] || fail "$n GPUs step by step end in other bits than as replays"
done
parts=$(loss 2 --set train.shard_optimizer=true --set train.bucket_kb=4) || fail "two GPUs in parts"
near "$whole" "$parts" 0.001 "two GPUs in parts and one processor"
host=$(loss 2 --set train.reduce=messages) || fail "two GPUs by way of the host"
near "$whole" "$host" 0.001 "two GPUs by way of the host and one processor"
half=$(loss 2 --set train.precision=bf16) || fail "two GPUs in bf16"
near "$whole" "$half" 0.03 "two GPUs in bf16 and one processor"
echo "losses: one rank $whole, two processors $cpu, $n GPUs $gpu, bf16 $half, apart $apart"
