#!/bin/sh
# What a user has of a GPU beside training: integers evaluated there, a simulated federation whose clients train there, and
# recipes for one GPU, from the third argument, a folder. With a fourth, a CUDA module whose GPU is played
# (tests/core/cuda/played.c), or, with "real" behind it, there or not; without, only what is said where there is none.
limbeck=$1
dir=$2/gpu
configs=$3
played=$4
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; exit 1; }
must() { "$@" >>"$dir/log" 2>&1 || fail "$*" "$dir/log"; }
cat >"$dir/m.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 90, classes: 4, height: 8, width: 8, channels: 3, noise: 0.3}
model: {name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.05}
Y
if [ "$5" = real ]; then
    LMB_CUDA_MODULE=$played "$limbeck" inspect "$dir/m.yaml" --backend cuda --plan train >"$dir/out" 2>&1
    why=$(grep -o "no CUDA device[^;]*" "$dir/out" | head -n 1)
    [ -z "$why" ] || { echo "skipped: $why"; exit 0; }
fi
must "$limbeck" train "$dir/m.yaml"
must "$limbeck" quantize "$dir/m.yaml" "$dir/run/model/model.onnx" --calibration 100 --out "$dir/q.onnx"
must "$limbeck" export "$dir/q.onnx" --out "$dir/net.lmb"
must "$limbeck" eval "$dir/m.yaml" "$dir/net.lmb" --kernels scalar --logits "$dir/scalar.npy"

# Without a GPU: asked for it is an error, configured it is a sentence.
LMB_CUDA_MODULE=/nowhere/liblimbeck_cuda.so
export LMB_CUDA_MODULE
"$limbeck" eval "$dir/m.yaml" "$dir/net.lmb" --backend cuda >"$dir/out" 2>"$dir/err" && fail "--backend cuda without a GPU" "$dir/out"
grep -q "no CUDA module" "$dir/err" || fail "it does not say why" "$dir/err"
"$limbeck" eval "$dir/m.yaml" "$dir/net.lmb" --set train.backend=cuda --logits "$dir/fallen.npy" >"$dir/out" 2>"$dir/err" || fail "eval" "$dir/err"
grep -q "the integers are computed on the processor: this installation has no CUDA module" "$dir/err" || fail "no sentence" "$dir/err"
cmp -s "$dir/scalar.npy" "$dir/fallen.npy" || fail "other answers without a GPU"
"$limbeck" eval "$dir/m.yaml" "$dir/net.lmb" --backend fast >"$dir/out" 2>"$dir/err" && fail "a backend that there is not" "$dir/out"
[ -n "$played" ] || exit 0

LMB_CUDA_MODULE=$played
must "$limbeck" eval "$dir/m.yaml" "$dir/net.lmb" --backend cuda --logits "$dir/gpu.npy"
cmp -s "$dir/scalar.npy" "$dir/gpu.npy" || fail "the GPU's integers are others"

# The clients of a simulation on one GPU, one after another, four at a time, and as many as fit: the same bits.
for run in first second third; do
    case $run in first) streams=1 ;; second) streams=4 ;; third) streams=0 ;; esac
    cat >"$dir/$run.yaml" <<Y
run: $dir/$run
data: {name: synthetic, train: 300, test: 50, height: 8, width: 8, classes: 4}
split: {train: 40, validation: 40, clients: 220}
model: {name: lenet}
federation:
  clients: 7
  partition: dirichlet
  alpha: 1
  simulate: {streams: $streams}
  server: {rounds: 2, target: 4, minimum: 2}
  local: {train: {epochs: 1, batch: 16, threads: 1, lr: 0.02, backend: cuda}}
Y
    must "$limbeck" simulate "$dir/$run.yaml"
done
grep -q "4 clients train at a time" "$dir/log" || fail "it does not say how many train at a time" "$dir/log"
for run in first second third; do # what the clients left, but not when
    sed -e 's/"seconds": *[0-9.e+-]*//g' "$dir/$run/simulation/history.jsonl" >"$dir/$run.history"
    cmp -s "$dir/first.history" "$dir/$run.history" || fail "a simulation on a GPU goes another way: $run"
    cmp -s "$dir/first/simulation/model.onnx" "$dir/$run/simulation/model.onnx" || fail "a simulation on a GPU ends differently: $run"
done
# Killed once the first round is told, and gone on with fewer at a time.
sed -e "s,$dir/second,$dir/killed,; s/streams: 4/streams: 3/" "$dir/second.yaml" >"$dir/killed.yaml"
"$limbeck" simulate "$dir/killed.yaml" >>"$dir/log" 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '"round": *1' "$dir/killed/simulation/history.jsonl" 2>/dev/null; do sleep 0.05; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
must "$limbeck" simulate "$dir/killed.yaml" --set federation.simulate.streams=2
cmp -s "$dir/first/simulation/model.onnx" "$dir/killed/simulation/model.onnx" || fail "killed and gone on it ends differently" "$dir/log"

# Under secure aggregation, updates hidden and shown on the GPU: the model of sums in the clear.
for run in clear hidden; do
    [ $run = hidden ] && masks=true || masks=false
    sed -e "s,$dir/second,$dir/$run,; s/streams: 4/streams: 2, masks: $masks/; s/minimum: 2}/minimum: 3, secure_aggregation: {clip: 0.5}}/" \
        "$dir/second.yaml" >"$dir/$run.yaml"
    must "$limbeck" simulate "$dir/$run.yaml"
done
cmp -s "$dir/clear/simulation/model.onnx" "$dir/hidden/simulation/model.onnx" || fail "masks leave something in the sum"
grep -qE "masks go on and come off on (a played GPU|NVIDIA|Tesla)" "$dir/log" || fail "masks: no sentence" "$dir/log"
"$limbeck" simulate "$dir/second.yaml" --set federation.local.train.backend=portable >"$dir/out" 2>"$dir/err" && fail "streams without a GPU" "$dir/out"
grep -q "simulate.streams is 4, but clients train on the processor" "$dir/err" || fail "streams without a GPU: no sentence" "$dir/err"

# The recipes for one GPU as their files have them, but for a narrow model and little data: sound, and a few steps.
sed -e 's/conv: 64$/conv: 4/; s/conv: 128/conv: 6/g; s/conv: 256/conv: 8/; s/conv: 512/conv: 12/g' "$configs/gpu-94.yaml" >"$dir/gpu-94.yaml"
sed -e 's/depth: 28, width: 10,/depth: 10, width: 1,/' "$configs/wrn28-10.yaml" >"$dir/wrn28-10.yaml"
for recipe in gpu-94 wrn28-10; do
    cmp -s "$dir/$recipe.yaml" "$configs/$recipe.yaml" && fail "$recipe.yaml is not narrow"
    set -- "$dir/$recipe.yaml" --set "data={name: synthetic, train: 8, test: 2, height: 32, width: 32, channels: 3, classes: 10}" \
        --set split.train=8 --set train.batch=2 --set train.epochs=1 --set "run=$dir/$recipe"
    must "$limbeck" config check "$@"
    "$limbeck" train "$@" >"$dir/out" 2>"$dir/err" || fail "limbeck train $recipe.yaml" "$dir/err"
    grep -q "full batches are replays of one recorded step" "$dir/err" || fail "$recipe.yaml is not replayed" "$dir/err"
done
exit 0
