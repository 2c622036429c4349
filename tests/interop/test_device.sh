#!/bin/sh
# tests/interop/test_device.sh LIMBECK BINARIES SOURCES - limbeck-time for 64-bit ARM, built by the one line of
# docs/compress.md, measures for a search of this machine, in qemu's user mode. The times are an emulator's and looked at
# by nobody.
limbeck=$1
dir=$2/device
source=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; exit 1; }
skip() { echo "skipped: $1"; exit 0; }

command -v aarch64-linux-gnu-gcc >/dev/null || skip "there is no cross compiler (gcc-aarch64-linux-gnu)"
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "there is no qemu-aarch64 (qemu-user)"
line=$(grep -m 1 '^aarch64-linux-gnu-gcc .*limbeck-time' "$source/docs/compress.md") || fail "docs/compress.md has no line that builds it"
(cd "$source" && eval "$(echo "$line" | sed "s#-o limbeck-time#-o '$dir/limbeck-time'#")") >"$dir/build.log" 2>&1 || fail "it does not build" "$dir/build.log"
cat >"$dir/c.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 400, test: 100, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 150, seed: 1}
teacher:
  model: {name: vgg, channels: [8, 0, 8], mean: 120, scale: 0.015}
  train: {epochs: 3, batch: 64, lr: 0.1, threads: 1}
compress:
  teacher: $dir/run/teacher/model.onnx
  accuracy_drop_max: "90 %"
  steps: 1
  batches: 2
  probe: 16
  samples: 64
  calibration: 32
  tune: {epochs: 1, batch: 32, lr: 0.02, clip: 1, threads: 1}
  device: {name: board, command: "$qemu -cpu cortex-a53 $dir/limbeck-time"}
Y
"$limbeck" train "$dir/c.yaml" --stage teacher >/dev/null 2>"$dir/err" || fail "no teacher" "$dir/err"
"$limbeck" compress "$dir/c.yaml" >"$dir/out" 2>"$dir/err" </dev/null || fail "no search on the board" "$dir/err"
grep -q '"device": {"name": "board", "processor": "..*", "kernels": "neon"}' "$dir/run/compress/front.json" || fail "not measured with the board's kernels" "$dir/out"
echo "measured on $(sed -n 's/^measured on //p' "$dir/out")"
