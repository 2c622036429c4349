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
# an update with pictures of two devices, whose names are their numbers there; which it has learnt goes by these names
if [ -s "$other" ]; then
    i=100 list="$dir/label.csv"
    echo "number,why,score,answer,file" >"$list"
    for class in "$dir"/folder/train/*; do
        mkdir -p "$dir/labelled/train/$(basename "$class")"
        for picture in "$class"/*; do
            cp "$picture" "$dir/labelled/train/$(basename "$class")/phone-$((i % 2))-000$((i / 2)).${picture##*.}"
            [ $((i % 5)) != 0 ] || echo "$((i / 2)),unsure,1,0,\"devices/phone-$((i % 2)).mon\"" >>"$list"
            i=$((i + 1))
        done
    done
    cat >"$dir/update.yaml" <<Y
run: $dir/run-5
data: {name: folder, path: $dir/folder, height: 24, width: 24}
model: {name: onnx, path: $other}
update:
  data: {name: folder, path: $dir/labelled, height: 24, width: 24}
  list: $list
  train: {epochs: 1, batch: 8, threads: 1}
Y
    "$limbeck" train "$dir/update.yaml" --continue >"$dir/out" 2>"$dir/err" || fail "an update with a folder"
    grep -q "^$(($(wc -l <"$list") - 1)) new samples and" "$dir/err" || fail "not the samples of $list are learnt"
    # more pictures change nothing, for the list does not name them
    cp "$picture" "$(dirname "$dir/labelled/train/${picture#"$dir"/folder/train/}")/1.${picture##*.}"
    "$limbeck" train "$dir/update.yaml" --continue >"$dir/out" 2>"$dir/err" || fail "the same update with one more picture in the folder"
    grep -q "done already" "$dir/err" || fail "one more picture in the folder is another update"
    echo '49,unsure,1,0,"devices/phone-0.mon"' >>"$list"
    "$limbeck" config check "$dir/update.yaml" >"$dir/out" 2>"$dir/err" && fail "a picture that is not there is learnt"
    grep -q "1 of its $(($(wc -l <"$list") - 1)) samples have no picture in .update.data.: phone-0-49 " "$dir/err" || fail "nothing says which picture is not there"
fi
# a student that learns from pictures of no known class: how they are put into folders changes no bit, its teacher does
if [ -s "$other" ]; then
    mkdir -p "$dir/flat" "$dir/wrong/x" "$dir/wrong/y"
    i=0
    for class in "$dir"/folder/train/*; do
        for picture in "$class"/*; do
            name=$(printf '%s-%s' "$(basename "$class")" "$(basename "$picture")")
            cp "$picture" "$dir/flat/$name"
            i=$((i + 1))
            [ $i -le 20 ] && cp "$picture" "$dir/wrong/x/$name" || cp "$picture" "$dir/wrong/y/$name"
        done
    done
    cat >"$dir/bare.yaml" <<Y
run: $dir/bare
data: {name: folder, path: $dir/folder, height: 24, width: 24}
split: {validation: 8, seed: 1}
student:
  model: {name: mlp, hidden: [8], mean: 120, scale: 0.015}
  train: {epochs: 2, batch: 16, lr: 0.05, threads: 1}
  distill: {teacher: $other, alpha: 1, unlabelled: {name: folder, path: $dir/flat, height: 24, width: 24, labels: false}}
Y
    # bare NAME [--set ...]
    bare() {
        name=$1; shift
        "$limbeck" distill "$dir/bare.yaml" --set run="$dir/$name" "$@" >"$dir/out" 2>"$dir/err" || fail "a student without labels: $name"
    }
    # no EXIT-CODE WHAT [--set ...]
    no() {
        want=$1 says=$2; shift 2
        "$limbeck" config check "$dir/bare.yaml" "$@" >"$dir/out" 2>"$dir/err"; got=$?
        [ $got = "$want" ] && grep -q -- "$says" "$dir/err" || fail "config check $* -> exit $got, want $want and '$says'"
    }
    "$limbeck" config check "$dir/bare.yaml" >"$dir/out" 2>"$dir/err" || fail "config check of a student without labels"
    bare flat-student
    grep -q 'student: test accuracy [0-9]' "$dir/out" || fail "a student without labels has no test accuracy"
    bare wrong-student --set "student.distill.unlabelled.path=$dir/wrong"
    cmp "$dir/flat-student/student/model.onnx" "$dir/wrong-student/student/model.onnx" || fail "folders of pictures without labels count"
    bare cached-student --set student.distill.cache=true
    cmp "$dir/flat-student/student/model.onnx" "$dir/cached-student/student/model.onnx" || fail "logits of pictures without labels from a file end in other weights"
    no 2 "alpha is 0.5: set it to 1" --set student.distill.alpha=0.5
    no 2 "reads labels, and .unlabelled. has none" --set 'student.distill.losses=[dkd]'
    no 1 "has samples \[3, 20, 24\]" --set student.distill.unlabelled.height=20
    no 2 "have no labels (one class)" --set data.labels=false
fi

# every configuration that is left speaks of keys that exist
for c in "$configs"/*/*.yaml; do
    "$limbeck" config show "$c" >"$dir/out" 2>"$dir/err" || fail "$c"
done
# said_in_head CONFIG [--set ...]: and what its head says to --set is sound
said_in_head() {
    c=$configs/fashion-mnist/$1.yaml; shift
    sets=$(sed -n '/^#/!q; p' "$c" | grep -o -e '--set [a-z][^ `]*')
    [ -n "$sets" ] || fail "the head of $c has no --set"
    "$limbeck" config check "$c" $sets --set data.path="$dir/idx" --set data.classes=3 --set split.train=10 \
        --set split.validation=10 --set split.clients=70 "$@" >"$dir/out" 2>"$dir/err" || fail "$c:" $sets
}
said_in_head tune
said_in_head private-journey --set federation.alpha=1000
exit $bad
