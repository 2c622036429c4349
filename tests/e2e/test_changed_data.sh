#!/bin/sh
# Journals are of the samples that they were begun with: one pixel of an idx file is replaced in place, and `compress`, `tune` and
# `compare` refuse to go on beside what they know of the others; with the old pixel back they go on.
limbeck=$1 dir=$2/changed_data make_data=$3
rm -rf "$dir" && mkdir -p "$dir/data" || exit 1
bad=0
fail() { echo "FAILED: $*"; tail -3 "$dir/err"; bad=1; }
"$make_data" idx "$dir/data" || exit 1
images=$dir/data/train-images-idx3-ubyte tests=$dir/data/t10k-images-idx3-ubyte
[ -s "$images" ] && [ -s "$tests" ] || { echo "FAILED: the files of make_data have other names"; exit 1; }
cat >"$dir/c.yaml" <<Y
run: $dir/run
data: {name: idx, path: $dir/data, classes: 3}
split: {train: 60, validation: 30, seed: 1}
model: {name: mlp, hidden: [4]}
train: {epochs: 1, batch: 16, lr: 0.1, threads: 1}
teacher:
  model: {name: mlp, hidden: [8], mean: 120, scale: 0.015}
  train: {epochs: 20, batch: 16, lr: 0.05, threads: 1}
compress:
  teacher: $dir/taught/teacher/model.onnx
  accuracy_drop_max: "90 %"
  steps: 1
  batches: 1
  samples: 32
  probe: 16
  calibration: 16
  tune: {epochs: 1, batch: 16, lr: 0.02, threads: 1}
tune: {method: random, trials: 2, round: 2, space: {train.lr: {real: [0.01, 0.5]}}}
Y
sed 's/lr: 0.1/lr: 0.2/' "$dir/c.yaml" >"$dir/other.yaml"
# is EXIT-CODE COMMAND ARGUMENTS...
is() {
    want=$1; shift
    "$limbeck" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || fail "limbeck $* -> exit $got, want $want"
}
says() { grep -q -- "$1" "$dir/err" || fail "nothing says '$1'"; }
pixel() { printf "\\$2" | dd of="$1" bs=1 seek=5000 conv=notrunc 2>/dev/null; }
all() { # all EXIT-CODE; the sentence of each
    is "$1" compress "$dir/c.yaml"
    [ "$1" = 0 ] || says "data have changed since this journal was begun: the hash of training samples was [0-9a-f]*... and is [0-9a-f]*... now; put .* name another .run."
    is "$1" tune "$dir/c.yaml"
    [ "$1" = 0 ] || says "data have changed .* name another .run."
    is "$1" compare "$dir/c.yaml" "$dir/other.yaml" --out "$dir/two" --seeds 1,2
    [ "$1" = 0 ] || says "data have changed .* name another --out"
    is "$1" compare "$dir/c.yaml" "$dir/other.yaml" --out "$dir/folds" --seeds 1 --folds 2
    [ "$1" = 0 ] || says "data have changed .* name another --out"
}
journals() { cat "$dir/run/compress/journal.jsonl" "$dir/run/tune/journal.jsonl" "$dir/two/journal.jsonl" "$dir/folds/journal.jsonl" | cksum; }

pixel "$images" 001
pixel "$tests" 001
is 0 train "$dir/c.yaml" --stage teacher --set run="$dir/taught"
all 0
before=$(journals)
pixel "$images" 002
all 2
pixel "$images" 001
all 0
[ "$(journals)" = "$before" ] || fail "refused, or with the old data back, a journal has changed"

# the test part has a say where it decides, and only there
is 0 compress "$dir/c.yaml" --set run="$dir/held" --set compress.held_out=test
pixel "$tests" 002
is 2 compress "$dir/c.yaml" --set run="$dir/held" --set compress.held_out=test
says "the hash of held-out samples was"
is 0 compress "$dir/c.yaml"
is 0 tune "$dir/c.yaml"
is 2 compare "$dir/c.yaml" "$dir/other.yaml" --out "$dir/two" --seeds 1,2
says "the hash of test samples was"
is 0 compare "$dir/c.yaml" "$dir/other.yaml" --out "$dir/folds" --seeds 1 --folds 2
[ "$(journals)" = "$before" ] || fail "with another test part a journal has changed"
is 0 compare "$dir/c.yaml" "$dir/other.yaml" --out "$dir/two" --seeds 1,2 --fresh
[ $bad = 0 ] && echo "changed data are refused, and what has no say is not"
exit $bad
