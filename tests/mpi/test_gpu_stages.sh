#!/bin/sh
# train.pipeline on GPUs: stages on 1, 2 and 4 of them, and pipelines side by side, end in the same weights, bit for bit. Played GPUs
# (tests/core/cuda/played.c) and a played NCCL (tests/comm/played_nccl_module.c), which end in the bits of the whole model on one GPU;
# with "real" as last word on as many GPUs as there are. A checkpoint goes on with another number of ranks and
# stages, and on processors. A neighbour that stops or dies is named, and the job ends with 75.
. "$(dirname "$0")/ranks.sh"
begin gpu_stages "$1" "$2"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12, 16], dropout: 0.1}
train: {backend: cuda, epochs: 2, batch: 128, shard: 32, lr: 0.01, ema: 0.9, clip: 0.05, optimizer: adam, augment: {crop: 1, flip: true, policy: randaugment}}
Y

[ -e "$3" ] && [ -e "$4" ] || { echo "skipped: no GPU's module: built without the CUDA toolkit"; exit 0; }
export LMB_CUDA_MODULE=$3 LMB_NCCL_MODULE=$4
if [ "$5" = real ]; then
    one=$(weights 1 --fresh $(stages 4 4))
    [ -n "$one" ] || { echo "skipped: $(sed -n 's/^limbeck: //p' "$dir/log.1" | head -1)"; exit 0; }
    there=$(nvidia-smi -L 2>/dev/null | wc -l)
    for n in 2 4; do
        [ "$n" -le "$there" ] || { echo "stages on one GPU: $one; $n GPUs are not there"; exit 0; }
        [ "$(weights $n --fresh $(stages 4 4))" = "$one" ] || fail "4 stages on $n GPUs end in other bits than on one"
        [ "$(weights $n --fresh $(stages 4 4) --set train.pipeline.cost=measured)" = "$one" ] || fail "stages cut by measured cost on $n GPUs end in other bits"
    done
    echo "stages on GPUs agree: $one"
    exit 0
fi

# 4 microbatches of 32 are 4 shards of 32; the last batch of an epoch has 104 samples, so a short one
for model in "{name: vgg, channels: [8, 0, 12, 16], dropout: 0.1}" "{name: resnet, depth: 8, width: 4}"; do
    whole=$(weights 1 --fresh --set "model=$model")
    [ -n "$whole" ] || fail "one GPU printed no weights of $model"
    for ranks_stages in "1 4" "2 2" "4 2" "2 4" "4 4"; do
        set -- $ranks_stages
        [ "$(weights "$1" --fresh --set "model=$model" $(stages "$2" 4))" = "$whole" ] || fail "$2 stages on $1 GPUs end in other bits: $model"
    done
done
for n in 1 4; do # images come as bytes or as floats
    [ "$(weights $n --fresh --set "model=$model" $(stages 4 4) --set train.augment_on=cpu)" = "$whole" ] || fail "images changed by $n processors end in other bits"
done
grep -q "steps are not replayed: stages on 4 GPUs can not be recorded; validation runs on the processor, as a GPU has its own stages" "$dir/log.4" ||
    fail "what stays on the processor is not said"
for n in 1 2 4; do # $whole: of the ResNet
    [ "$(weights $n --fresh --set "model=$model" $(stages 4 4) --set train.pipeline.cost=measured)" = "$whole" ] || fail "stages cut by cost measured on $n GPUs end in other bits"
    grep -q "^stages end before nodes [0-9]* [0-9]* [0-9]*, as measured" "$dir/log.$n" || fail "where measuring cut is not said"
done
for microbatches in 1 5 32; do # fewer than are sent ahead; 26 samples each; many
    one=$(weights 1 --fresh $(stages 4 $microbatches))
    [ -n "$one" ] || fail "$microbatches microbatches printed no weights"
    for n in 2 4; do
        [ "$(weights $n --fresh $(stages 4 $microbatches))" = "$one" ] || fail "$microbatches microbatches on $n GPUs end in other bits"
    done
done
[ "$one" != "$(weights 1 --fresh $(stages 4 4))" ] || fail "other microbatches should give other bits: is the test blind?"

# a student with a teacher in its loss: only the last stage is fed
cat >"$dir/student.yaml" <<Y
run: $dir/student
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
teacher: {model: {name: vgg, channels: [16, 0, 32]}, train: {epochs: 1, batch: 128, threads: 1}}
student:
  model: {name: vgg, channels: [8, 0, 8, 12]}
  train: {backend: cuda, epochs: 1, batch: 128, shard: 32, optimizer: adam, lr: 0.01, pipeline: {stages: 4, microbatches: 4}}
  distill: {alpha: 0.5}
Y
"$limbeck" train "$dir/student.yaml" --stage teacher >"$dir/log.1" 2>&1 || fail "no teacher"
taught() { # RANKS
    rm -rf "$dir/student/student"
    mpirun -n "$1" --oversubscribe --bind-to none "$limbeck" distill "$dir/student.yaml" --fresh 2>"$dir/log.$1" | sed -n 's/^weights //p'
}
alone=$(taught 1)
[ -n "$alone" ] && [ "$(taught 4)" = "$alone" ] || fail "a student in stages on 4 GPUs ends in other bits than on one"

# saved whenever somebody looks, then on with other numbers of ranks
often="$(stages 4 4) --set train.pipeline.cost=measured --set train.epochs=6 --set train.checkpoint_s=0"
long=$(weights 1 --fresh $often)
keep 2 --fresh $often
[ "$(cat "$dir/out")" = "$long" ] || fail "saving often changes bits"
for n in 4 1; do
    [ "$(go_on $n $often)" = "$long" ] || fail "2 GPUs' checkpoint ends in other bits with $n"
    grep -q "as measured when the training began" "$dir/log.$n" || fail "$n GPUs do not cut as the checkpoint says"
done
# another number of stages goes on, and so do processors, whose bits are their own
[ "$(go_on 2 $often --set train.pipeline.stages=2)" = "$long" ] || fail "2 GPUs' checkpoint of 4 stages ends in other bits with 2 stages"
[ -n "$(go_on 2 $often --set train.backend=cpu)" ] || fail "processors do not go on from GPUs' checkpoint"
grep -q "^going on in epoch" "$dir/log.2" || fail "processors began anew"

refuse 2 "stages on 2 GPUs can not be recorded" $(stages 2 4) --set train.graph=on
refuse 2 "train.sync_batch_norm does not go with train.pipeline" $(stages 2 4) --set train.sync_batch_norm=true
export LMB_PLAYED_GPUS=1
refuse 2 "send each other their results by NCCL: ranks share GPUs" $(stages 2 4) --set train.share_gpu=true
unset LMB_PLAYED_GPUS
refuse 2 "does not go with train.reduce=messages" $(stages 2 4) --set train.reduce=messages
no=$LMB_NCCL_MODULE
LMB_NCCL_MODULE=$dir/none
refuse 2 "stages on several GPUs send each other their results by NCCL: " $(stages 2 4)
LMB_NCCL_MODULE=$no

# in a step, or while stages are put together to be saved
for n in 4 2; do # 2: two pipelines, and so two communicators
    stuck STOP "rank 1 on [^ ]* (\\(process [0-9]*\\) )?(does not answer|is behind)" 4 $(stages $n 8)
done
echo "stages on GPUs agree: $long"
