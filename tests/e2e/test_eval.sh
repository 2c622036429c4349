#!/bin/sh
# One model, every backend: the same figures; what does not fit is refused before anything is read past its end.
limbeck=$1
dir=$2/eval
rm -rf "$dir" && mkdir -p "$dir" || exit 1
config() { # NAME CLASSES CHANNELS
    cat >"$dir/$1.yaml" <<Y
run: $dir/$1
data: {name: synthetic, train: 300, test: 120, channels: $3, height: 12, width: 12, classes: $2}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 8]}
train: {epochs: 2, batch: 32, threads: 1, lr: 0.05}
Y
    "$limbeck" train "$dir/$1.yaml" >"$dir/out" 2>&1 || { echo "FAILED: $1 does not train"; cat "$dir/out"; exit 1; }
}
bad=0
fail() { echo "FAILED: $*"; bad=1; }
config four 4 1
config six 6 1
config colour 4 3
model=$dir/four/model/model.onnx

for part in test validation train; do
    for backend in cpu onednn portable reference; do
        "$limbeck" eval "$dir/four.yaml" "$model" --part $part --set train.backend=$backend >"$dir/out" 2>"$dir/err" || { grep -q "built without" "$dir/err" && continue; fail "eval, $backend: $(cat "$dir/err")"; }
        sed 's/, [0-9.]* us at batch 1//' "$dir/out" >"$dir/$part-$backend"
        cmp -s "$dir/$part-cpu" "$dir/$part-$backend" || fail "$part: $backend says $(head -1 "$dir/$part-$backend"), cpu $(head -1 "$dir/$part-cpu")"
        "$limbeck" infer "$dir/four.yaml" "$model" --part $part --index 7 --set train.backend=$backend >"$dir/infer-$backend" 2>"$dir/err" || fail "infer, $backend: $(cat "$dir/err")"
        [ "$(sed "s/[.][0-9]* %//g" "$dir/infer-cpu")" = "$(sed "s/[.][0-9]* %//g" "$dir/infer-$backend")" ] || fail "infer: $backend says $(cat "$dir/infer-$backend"), cpu $(cat "$dir/infer-cpu")"
    done
    grep -q "^$part: $part accuracy" "$dir/$part-cpu" || fail "eval --part $part does not say which part: $(head -1 "$dir/$part-cpu")"
done

# what only the configuration describes has the size of its numbers, not of the configuration
"$limbeck" eval "$dir/four.yaml" --set "model={name: mlp, hidden: [10]}" >"$dir/out" 2>"$dir/err" || fail "eval without a file: $(cat "$dir/err")"
grep -q " 1494 parameters, .* 5984 bytes," "$dir/out" || fail "eval without a file: $(head -1 "$dir/out")" # 144 x 10 + 10 + 10 x 4 + 4, mean and scale

# a model from a file is a teacher as it is: as many right, the normalisation in its file and not once more before it
cat >"$dir/taught.yaml" <<Y
run: $dir/taught
data: {name: synthetic, train: 300, test: 120, channels: 1, height: 12, width: 12, classes: 4}
split: {validation: 60}
launch: {ranks: 1}
teacher: {model: {name: onnx, path: $model}}
student: {model: {name: mlp, hidden: [4]}, train: {epochs: 1, batch: 32, threads: 1, lr: 0.01}, distill: {alpha: 0.5}}
Y
"$limbeck" run "$dir/taught.yaml" >"$dir/out" 2>"$dir/err" || fail "a teacher from a file: $(cat "$dir/err")"
grep -q "taken as it is" "$dir/err" || fail "a teacher from a file is trained"
right() { sed -n 's/.*test accuracy \([0-9.]*\) %.*/\1/p' "$1" | head -1; }
[ -n "$(right "$dir/out")" ] && [ "$(right "$dir/out")" = "$(right "$dir/test-cpu")" ] || fail "as a teacher it is right on $(right "$dir/out") %, before on $(right "$dir/test-cpu") %"

# integers: one answer, from the .lmb and from the QDQ graph, of an index and as a picture
"$limbeck" quantize "$dir/four.yaml" "$model" --calibration 100 --out "$dir/q.onnx" >"$dir/out" 2>"$dir/err" &&
    "$limbeck" export "$dir/q.onnx" --out "$dir/q.lmb" >"$dir/out" 2>"$dir/err" &&
    "$limbeck" export "$dir/q.onnx" --out "$dir/qdq.onnx" >"$dir/out" 2>"$dir/err" || fail "quantize and export: $(cat "$dir/err")"
for file in q.lmb qdq.onnx; do
    "$limbeck" infer "$dir/four.yaml" "$dir/$file" --index 7 >"$dir/infer-$file" 2>"$dir/err" || fail "infer $file: $(cat "$dir/err")"
done
grep -q "^sample 7 (label .): *class . [0-9.]* %" "$dir/infer-q.lmb" && cmp -s "$dir/infer-q.lmb" "$dir/infer-qdq.onnx" ||
    fail "infer: q.lmb says $(cat "$dir/infer-q.lmb"), qdq.onnx $(cat "$dir/infer-qdq.onnx")"

# refused WORDS COMMAND...
refused() {
    words=$1; shift
    "$limbeck" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq 1 ] || [ $got -eq 2 ] || fail "$* -> exit $got"
    grep -q -- "$words" "$dir/err" || fail "$*: $(cat "$dir/err") (want: $words)"
}
for command in eval infer; do
    [ $command = infer ] && set -- --index 0 || set --
    refused "6 outputs, the data 4 classes" $command "$dir/four.yaml" "$dir/six/model/model.onnx" "$@"
    refused "samples of 432 numbers, \|the model takes" $command "$dir/four.yaml" "$dir/colour/model/model.onnx" "$@"
    refused "no such file" $command "$dir/four.yaml" "$dir/none.onnx" "$@"
    head -c 1500 "$model" >"$dir/cut.onnx"
    refused "cut short" $command "$dir/four.yaml" "$dir/cut.onnx" "$@"
    refused "backend 'gpu'" $command "$dir/four.yaml" "$model" "$@" --set train.backend=gpu
    refused "part clients" $command "$dir/four.yaml" "$model" "$@" --part clients
done
head -c 700 "$dir/q.lmb" >"$dir/cut.lmb"
for command in eval infer; do
    [ $command = infer ] && set -- --index 0 || set --
    refused "cut.lmb" $command "$dir/four.yaml" "$dir/cut.lmb" "$@"
    refused "others" $command "$dir/colour.yaml" "$dir/q.lmb" "$@"
done
refused "index 120" infer "$dir/four.yaml" "$dir/q.lmb" --index 120
refused "index 120" infer "$dir/four.yaml" "$model" --index 120
refused "index -1" infer "$dir/four.yaml" "$model" --index -1
refused "neither a PNG nor a JPEG" infer "$dir/four.yaml" "$model" "$dir/four.yaml"
refused "give image files" infer "$dir/four.yaml" "$model"
exit $bad
