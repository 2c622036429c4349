#!/bin/sh
# What a user has of a GPU beside training: integers evaluated there, and a simulated federation whose clients train there. With a third
# argument, a CUDA module whose GPU is played (tests/core/cuda/played.c); without, only what is said where there is none.
limbeck=$1
dir=$2/gpu
played=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; exit 1; }
must() { "$@" >>"$dir/log" 2>&1 || fail "$*" "$dir/log"; }
cat >"$dir/m.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 90, classes: 4, height: 8, width: 8, channels: 3, noise: 0.3}
model: {name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.05}
Y
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

# The clients of a simulation, one after another on one GPU: the same bits each time.
for run in first second; do
    cat >"$dir/$run.yaml" <<Y
run: $dir/$run
data: {name: synthetic, train: 300, test: 50, height: 8, width: 8, classes: 4}
split: {train: 40, validation: 40, clients: 220}
model: {name: lenet}
federation:
  clients: 7
  partition: dirichlet
  alpha: 1
  server: {rounds: 2, target: 4, minimum: 2}
  local: {train: {epochs: 1, batch: 16, threads: 1, lr: 0.02, backend: cuda}}
Y
    must "$limbeck" simulate "$dir/$run.yaml"
done
for run in first second; do # what the clients left, but not when
    sed -e 's/"seconds": *[0-9.e+-]*//g' "$dir/$run/simulation/history.jsonl" >"$dir/$run.history"
done
cmp -s "$dir/first.history" "$dir/second.history" || fail "a simulation on a GPU goes another way the second time"
cmp -s "$dir/first/simulation/model.onnx" "$dir/second/simulation/model.onnx" || fail "a simulation on a GPU ends differently the second time"
exit 0
