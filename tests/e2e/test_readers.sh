#!/bin/sh
# Every reader as its user meets it: the configuration that configs/ has for it trains an epoch on a tiny set of the
# same format, with a model small enough for a test, and the trained model answers about a sample.
limbeck=$1 dir=$2/readers make_data=$3 configs=$4
rm -rf "$dir" && mkdir -p "$dir" || exit 1
bad=0 n=0
fail() { echo "FAILED: $*"; tail -3 "$dir/err"; bad=1; }

# reader FORMAT CONFIG [--set ...]: make, check, train, evaluate, ask
reader() {
    format=$1 config=$2; shift 2
    mkdir -p "$dir/$format"
    "$make_data" "$format" "$dir/$format"; code=$?
    [ $code = 77 ] && { echo "no $format in this build"; return; }
    [ $code = 0 ] || { fail "make_data $format -> $code"; return; }
    n=$((n + 1)); run="$dir/run-$n"
    set -- "$configs/$config" --set run="$run" --set data.path="$dir/$format$path" --set train.epochs=1 --set train.batch=16 --set train.threads=1 "$@"
    "$limbeck" config check "$@" >"$dir/out" 2>"$dir/err" || { fail "$config: config check"; return; }
    "$limbeck" train "$@" >"$dir/out" 2>"$dir/err" || { fail "$config: train"; return; }
    grep -q "test accuracy [0-9]" "$dir/out" || fail "$config: train reports no accuracy"
    [ -s "$run/model/model.onnx" ] && [ -s "$run/model/stage.json" ] || fail "$config: train leaves no model"
    said=$(sed -n 's/^model: \(test accuracy .*\), macro.*/\1/p' "$dir/out")
    first=$1; shift
    "$limbeck" eval "$first" "$run/model/model.onnx" "$@" >"$dir/out" 2>"$dir/err" || fail "$config: eval"
    grep -q -F "$said" "$dir/out" || fail "$config: eval says something else than train ($said): $(head -1 "$dir/out")"
    "$limbeck" infer "$first" "$run/model/model.onnx" --index 1 "$@" >"$dir/out" 2>"$dir/err" || fail "$config: infer"
    grep -q '^sample 1 (label [0-9]*):.* [0-9.]* %' "$dir/out" || fail "$config: infer answers '$(cat "$dir/out")'"
}
path=
small='model={name: mlp, hidden: [8]}'
reader idx fashion-mnist/mlp.yaml --set split.validation=15 --set data.classes=3
reader idx fashion-mnist/lenet.yaml --set split.validation=15 --set data.classes=3
reader cifar cifar10/resnet20.yaml --set split.validation=50 --set split.train=200 --set "$small"
reader hapt signals/hapt.yaml --set split.validation=4 --set data.window=32 --set data.step=32 --set 'model.channels=[8, 0, 8]'
reader folder folder/pictures.yaml --set data.height=24 --set data.width=24 --set model.width=0.1
path=/arrays.h5
reader hdf5 hdf5/arrays.yaml --set data.classes=3 --set model.depth=8
reader hdf5 hdf5/arrays.yaml --set data.classes=3 --set data.train_samples=train/signals --set data.test_samples=test/signals --set 'model={name: mlp, hidden: [8], mean: 0, scale: 1}'
path=

# transfer: the model of the folder is another's, its head is new, the rest is frozen
other="$dir/run-5/model/model.onnx"
if [ -s "$other" ]; then
    reader folder transfer/pictures.yaml --set data.height=24 --set data.width=24 --set model.path="$other" --set 'model.channel_mean=[]' --set 'model.channel_deviation=[]'
    # pictures of any size and colour, one by one
    set -- "$dir"/folder/test/light/*
    "$limbeck" infer "$configs/folder/pictures.yaml" "$other" "$@" --set data.path="$dir/folder" --set data.height=24 --set data.width=24 >"$dir/out" 2>"$dir/err" || fail "infer of pictures"
    [ "$(grep -c '^/.*:  [a-z]* [0-9.]* %' "$dir/out")" = $# ] || fail "infer of $# pictures answers: $(cat "$dir/out")"
fi
# every configuration that is left speaks of keys that exist
for c in "$configs"/*/*.yaml; do
    "$limbeck" config show "$c" >"$dir/out" 2>"$dir/err" || fail "$c"
done
exit $bad
