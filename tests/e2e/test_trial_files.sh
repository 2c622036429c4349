#!/bin/sh
# What trials of `limbeck tune` and `limbeck compare` are of, beside settings and samples: the weights that they begin with
# and the teachers that a space chooses among. With another file of the same name a journal is refused, with the old one
# back it goes on. A sparse model is trained as it would be by itself.
limbeck=$1
dir=$2/trial_files
rm -rf "$dir" && mkdir -p "$dir" || exit 1
data="data: {name: synthetic, train: 300, test: 100, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, seed: 1}"
train="epochs: 2, batch: 32, lr: 0.05, threads: 1"
cat >"$dir/made.yaml" <<Y
run: $dir/made
$data
model: {name: mlp, hidden: [16], mean: 120, scale: 0.015}
train: {$train}
Y
cat >"$dir/a.yaml" <<Y
run: $dir/on
$data
model: {name: onnx, path: $dir/pre.onnx}
train: {$train}
tune: {method: random, trials: 2, round: 2, space: {train.lr: {real: [0.01, 0.5], log: true}}}
Y
sed 's/lr: 0.05/lr: 0.01/' "$dir/a.yaml" >"$dir/b.yaml"
cat >"$dir/taught.yaml" <<Y
run: $dir/taught
$data
student:
  model: {name: mlp, hidden: [4], mean: 120, scale: 0.015}
  train: {$train}
  distill: {alpha: 0.5}
tune:
  stage: student
  method: grid
  trials: 4
  round: 4
  space:
    student.distill.alpha: {choice: [0, 0.5]}
    student.distill.teacher: {choice: [$dir/x.onnx, $dir/y.onnx]}
Y
bad=0
fail() { echo "FAILED: $*"; tail -3 "$dir/err"; bad=1; }
# is EXIT-CODE COMMAND ARGUMENTS...
is() {
    want=$1; shift
    "$limbeck" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || fail "limbeck $* -> exit $got, want $want"
}
says() { grep -q -- "$1" "$dir/err" || fail "nothing says '$1'"; }
two() { is "$1" compare "$dir/a.yaml" "$dir/b.yaml" --out "$dir/two" --seeds 1,2; }

for n in 1 2 3; do
    is 0 train "$dir/made.yaml" --fresh --set train.seed=$n
    cp "$dir/made/model/model.onnx" "$dir/$n.onnx" || exit 1
done
cmp -s "$dir/1.onnx" "$dir/2.onnx" && fail "two seeds have made the same file"

# the weights that a recipe begins with
cp "$dir/1.onnx" "$dir/pre.onnx"
two 0
is 0 tune "$dir/a.yaml"
before=$(cat "$dir/two/journal.jsonl" "$dir/on/tune/journal.jsonl" | cksum)
cp "$dir/2.onnx" "$dir/pre.onnx"
two 2
says "the hash of model .*pre.onnx was [0-9a-f]*... and is [0-9a-f]*... now; put .* name another --out"
is 2 tune "$dir/a.yaml" --set tune.trials=4
says "the hash of model .*pre.onnx was [0-9a-f]*... and is [0-9a-f]*... now; put .* name another .run."
cp "$dir/1.onnx" "$dir/pre.onnx"
two 0
is 0 tune "$dir/a.yaml"
[ "$before" = "$(cat "$dir/two/journal.jsonl" "$dir/on/tune/journal.jsonl" | cksum)" ] || fail "a journal has changed"
# a choice of such models, and no word about files where there is none
is 0 tune "$dir/a.yaml" --set run="$dir/choice" --set "tune.space={model.path: {choice: [$dir/1.onnx, $dir/pre.onnx]}}"
cp "$dir/2.onnx" "$dir/pre.onnx"
is 2 tune "$dir/a.yaml" --set run="$dir/choice" --set "tune.space={model.path: {choice: [$dir/1.onnx, $dir/pre.onnx]}}"
says "the hash of model .*pre.onnx was"
is 0 compare "$dir/made.yaml" "$dir/made.yaml" --out "$dir/plain" --seeds 1,2
grep -q "hash of model" "$dir/plain/journal.jsonl" && fail "a recipe without files has a file's hash"

# every teacher that may be chosen, though in the middle of the space there is none, and though the run has none of its own
cp "$dir/2.onnx" "$dir/y.onnx"
is 1 tune "$dir/taught.yaml" --set student.distill.alpha=0.5 --set "tune.space={student.distill.teacher: {choice: [$dir/x.onnx, $dir/y.onnx]}}"
says "there is no teacher: .*x.onnx"
[ -e "$dir/taught/tune/journal.jsonl" ] && fail "without a teacher a journal was begun"
cp "$dir/1.onnx" "$dir/x.onnx"
is 0 tune "$dir/taught.yaml"
before=$(cksum <"$dir/taught/tune/journal.jsonl")
for changed in x y; do
    cp "$dir/$changed.onnx" "$dir/kept.onnx"
    cp "$dir/3.onnx" "$dir/$changed.onnx"
    is 2 tune "$dir/taught.yaml"
    says "hash of teacher .*$changed.onnx was\|another configuration (.teacher: "
    mv "$dir/kept.onnx" "$dir/$changed.onnx"
done
is 0 tune "$dir/taught.yaml"
[ "$before" = "$(cksum <"$dir/taught/tune/journal.jsonl")" ] || fail "with the old teachers back a journal has changed"
# a sparse model keeps its zeros in a trial as in the training that it stands for: the same share of the test part is right
cat >"$dir/sparse.yaml" <<Y
run: $dir/sparse
$data
student:
  model: {name: mlp, hidden: [16], mean: 120, scale: 0.015}
  train: {$train}
  prune: {method: magnitude, sparsity: 0.97, end: 1, every: 1, train: {$train}}
Y
sed "s|pre.onnx|sparse.onnx|; s|/on$|/later|; s/epochs: 2/epochs: 4/" "$dir/a.yaml" >"$dir/later.yaml"
is 0 distill "$dir/sparse.yaml"
cp "$dir/sparse/student/model.onnx" "$dir/sparse.onnx"
is 0 train "$dir/later.yaml" --set train.seed=1
says "holding 9[0-9.]* % of the weights at zero"
kept=$(sed -n 's/.*"accuracy": *\([0-9.e-]*\).*/\1/p' "$dir/later/model/stage.json")
is 0 compare "$dir/later.yaml" "$dir/later.yaml" --out "$dir/zeros" --seeds 1,2
tried=$(sed -n 's/.*"accuracy": *\[\([0-9.e-]*\),.*/\1/p' "$dir/zeros/compare.json" | head -n 1)
[ -n "$kept" ] && [ "$kept" = "$tried" ] || fail "trained by itself $kept of the test part are right, as a trial $tried"
[ $bad = 0 ] && echo "files that trials begin with are part of what a journal is of"
exit $bad
