#!/bin/sh
# Slow, and needs data that are not part of the project, below LMB_DATA (default: data/ of the source):
#   cifar-10-batches-bin/    the binary version of CIFAR-10
#   resnet56-cifar10.onnx    a ResNet-56 that others trained (github.com/akamaster/pytorch_resnet_cifar10), 93.39 % on its test set
# Evaluated from its ONNX file it answers as often right here, and the student that it teaches trains.
limbeck=$1 dir=$2/cifar10 source=$3
data=${LMB_DATA:-$source/data}
[ -d "$data/cifar-10-batches-bin" ] && [ -f "$data/resnet56-cifar10.onnx" ] ||
    { echo "skipped: $data has no cifar-10-batches-bin or no resnet56-cifar10.onnx; LMB_DATA=... names another folder"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
bad=0
fail() { echo "FAILED: $*"; bad=1; }
set -- --set data.path="$data/cifar-10-batches-bin" --set model.path="$data/resnet56-cifar10.onnx"
"$limbeck" eval "$source/configs/cifar10/eval-resnet56-onnx.yaml" "$@" >"$dir/out" 2>"$dir/err" || fail "eval: $(cat "$dir/err")"
head -n 1 "$dir/out"
grep -q "^test: test accuracy 93.39 %" "$dir/out" || fail "the imported ResNet-56 should be right on 93.39 %"
cat >"$dir/taught.yaml" <<Y
run: $dir/run
data: {name: cifar, path: $data/cifar-10-batches-bin}
split: {train: 512, validation: 500}
teacher:
  model: {name: onnx, path: $data/resnet56-cifar10.onnx, mean: 0, scale: 0.00392156862745098,
          channel_mean: [0.485, 0.456, 0.406], channel_deviation: [0.229, 0.224, 0.225]}
student:
  model: {name: resnet, depth: 8, mean: 121, scale: 0.0156}
  train: {epochs: 1, batch: 64, lr: 0.05}
  distill: {alpha: 0.9}
Y
"$limbeck" run "$dir/taught.yaml" --set launch.ranks=1 >"$dir/out" 2>"$dir/err" || fail "run: $(cat "$dir/err")"
grep -q "^teacher: test accuracy 93.39 %" "$dir/out" || fail "as a teacher it should be right on 93.39 %"
grep "^student: " "$dir/out" || fail "the taught student says nothing"
exit $bad
