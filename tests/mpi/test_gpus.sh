#!/bin/sh
# Trainings of two and four ranks with a GPU each, summed by NCCL: played GPUs (tests/core/cuda/played.c) and a played NCCL
# (tests/comm/played_nccl_module.c). Whole, in parts (ZeRO-1) and by messages of the host they end in the bits of one GPU; in bf16 in
# others. Full batches are replays that hold the sums as well; what can not be recorded, on all ranks or on one, costs no bit. Each rank
# takes a GPU of its own, and remembers its part alone. A checkpoint goes on with another number of GPUs. A rank that stops is named, and
# the job ends with 75. With "real" as last word on the GPUs that are there, two or more, as far as nothing has to be played.
. "$(dirname "$0")/ranks.sh"
begin gpus "$1" "$2"
need_gpus "$3" "$4" "$5"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12, 16]}
train: {backend: cuda, epochs: 2, batch: 128, shard: 32, lr: 0.01, ema: 0.9, clip: 0.05, bucket_kb: 4, optimizer: adam}
Y

one=$(weights 1 --fresh)
[ -n "$one" ] || fail "one GPU printed no weights"
two=$(weights 2 --fresh)
[ "$two" = "$one" ] || fail "two GPUs end in other bits than one"
grep -q "sum their gradients on the host" "$dir/log.2" && fail "NCCL was not used"
grep -q "full batches are replays of one recorded step" "$dir/log.2" || fail "steps of two GPUs are not replayed"
[ "$(weights 2 --fresh --set train.graph=off)" = "$one" ] || fail "two GPUs step by step end in other bits than as replays"
[ "$(weights 2 --fresh --set train.shard_optimizer=true)" = "$one" ] || fail "two GPUs with parts of the optimizer's state end in other bits"
[ "$(weights 2 --fresh --set train.reduce=messages)" = "$one" ] || fail "sums by messages of the host end in other bits"
sam="--set train.sam.rho=0.1"
uphill=$(weights 1 --fresh $sam)
[ -n "$uphill" ] && [ "$uphill" != "$one" ] || fail "train.sam changes nothing"
[ "$(weights 2 --fresh $sam)" = "$uphill" ] || fail "two GPUs end in other bits than one with train.sam"
[ "$(weights 2 --fresh $sam --set train.shard_optimizer=true)" = "$uphill" ] || fail "parts: other bits with train.sam"
grep -q "full batches are replays of one recorded step" "$dir/log.2" || fail "steps of two passes are not replayed"
half=$(weights 2 --fresh --set train.reduce_type=bf16)
[ -n "$half" ] && [ "$half" != "$one" ] || fail "sums in bf16: $half"
[ "$(weights 2 --fresh --set train.reduce_type=bf16 --set train.shard_optimizer=true)" = "$half" ] || fail "bf16 in parts ends in other bits than whole"

if [ "$gpus" -ge 4 ]; then
# four, of which each remembers a quarter
four=$(weights 4 --fresh)
[ -n "$four" ] || fail "four GPUs printed no weights"
grep -q "full batches are replays" "$dir/log.4" || fail "steps of four GPUs are not replayed"
[ "$(weights 4 --fresh --set train.graph=off)" = "$four" ] || fail "four GPUs step by step end in other bits than as replays"
[ "$(weights 4 --fresh --set train.shard_optimizer=true)" = "$four" ] || fail "four GPUs with parts end in other bits than without"
grep -q "full batches are replays" "$dir/log.4" || fail "steps of four GPUs with parts are not replayed"
sed -n 's/^the optimizer remembers \([0-9.]*\) kB, of which rank 0 of 4 keeps \([0-9.]*\) kB$/\1 \2/p' "$dir/log.4" |
    awk '{ n = NR; good = $2 > 0 && $2 < 0.5 * $1 } END { exit !(n == 1 && good) }' || fail "parts are not parts"
fi

if [ "$5" != real ]; then
# recordings that fail: NCCL's, one rank's, and one that leaves out its end
LMB_PLAYED_NCCL=refuse weights 2 --fresh >"$dir/out"
[ "$(cat "$dir/out")" = "$one" ] || fail "what NCCL does not let be recorded costs bits"
grep -q "steps are not replayed: NCCL let .* not be recorded: invalid usage" "$dir/log.2" || fail "no sentence for NCCL's refusal"
LMB_PLAYED_NCCL=refuse weights 2 --fresh --set train.graph=on >"$dir/out"
[ -s "$dir/out" ] && fail "train.graph=on went on without a recording"
mpirun -n 1 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh : -n 1 env LMB_PLAYED=refuse "$limbeck" train "$dir/run.yaml" \
    --fresh 2>"$dir/log.2" | sed -n 's/^weights //p' >"$dir/out"
[ "$(cat "$dir/out")" = "$one" ] || fail "a rank that can not record costs bits"
grep -q "steps are not replayed: another rank could not record them" "$dir/log.2" || fail "no sentence for the other rank"
[ "$(LMB_PLAYED=forget weights 2 --fresh --set train.shard_optimizer=true)" = "$one" ] || fail "a replay that forgets costs bits"
grep -q "a replay did not end in the bits" "$dir/log.2" || fail "no sentence for a replay that forgets"

# sums that end in other bits each time are no reason, where they have no fixed order and more than two summands
fast="--set train.mode=fast --set train.shard_optimizer=true --plan-cache $dir/ways"
LMB_PLAYED_NCCL=jitter weights 4 --fresh $fast >"$dir/out"
grep -q "full batches are replays" "$dir/log.4" || fail "rounding is a reason not to replay"
grep -q "played engine" "$dir"/ways/kernels-*.txt || fail "ways that four ranks timed are kept nowhere"
LMB_PLAYED_NCCL=jitter weights 4 --fresh >"$dir/out"
[ "$(cat "$dir/out")" = "$four" ] || fail "replays in other bits cost bits"
grep -q "a replay did not end in the bits" "$dir/log.4" || fail "no sentence for replays in other bits"
LMB_PLAYED=forget weights 4 --fresh $fast >"$dir/out"
grep -q "a replay did not move the weights as the step" "$dir/log.4" || fail "no sentence for a replay that forgets a part"

# whose GPU is whose
LMB_PLAYED_GPUS=1 weights 2 --fresh >"$dir/out"; [ -s "$dir/out" ] && fail "two ranks shared a GPU unasked"
grep -q "2 ranks on .* see the same 1 GPU; start one rank a GPU" "$dir/log.2" || fail "no sentence for more ranks than GPUs"
[ "$(LMB_PLAYED_GPUS=1 weights 2 --fresh --set train.share_gpu=true)" = "$one" ] || fail "ranks that share a GPU end in other bits"
grep -q "sum their gradients on the host, as ranks share GPUs" "$dir/log.2" || fail "no sentence for sums on the host"
[ "$(LMB_PLAYED_GPUS=own weights 2 --fresh)" = "$one" ] || fail "ranks that see one GPU of their own each"
fi

# saved in the middle of an epoch, which is looked at ten times a second, then with one GPU
long="--set data.train=12000 --set train.epochs=1"
whole=$(weights 1 --fresh $long)
for shard in false true; do
    often="$long --set train.checkpoint_s=0 --set train.shard_optimizer=$shard"
    rm -rf "$dir/run"
    weights 2 --fresh $often >/dev/null
    cp "$dir/run/model/checkpoint.h5.prev" "$dir/kept.h5" || fail "no checkpoint was kept"
    for n in 1 2; do
        rm -rf "$dir/run" && mkdir -p "$dir/run/model" && cp "$dir/kept.h5" "$dir/run/model/checkpoint.h5"
        [ "$(weights $n $often)" = "$whole" ] || fail "2 GPUs' checkpoint ends in other bits with $n"
    done
done

if [ "$5" != real ]; then
export LMB_PLAYED_ONE_GPU=1
weights 2 --fresh >"$dir/out"; [ -s "$dir/out" ] && fail "two ranks on one GPU were accepted"
grep -q "ranks 0 and 1 are on the same GPU" "$dir/log.2" || fail "no sentence for two ranks on one GPU"
unset LMB_PLAYED_ONE_GPU
fi

stuck STOP "rank 0 on .*, all-reduce of bucket [0-9]* of step [0-9]*: nothing came of it for 16 s; rank 1 on .*, at: .* of step" 2 --set data.train=2620
echo "GPUs agree: $one"
