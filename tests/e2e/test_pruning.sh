#!/bin/sh
# Pruning from the command line: every criterion, channels in steps, sensitivity, 2:4 with a packed .lmb that answers as
# the plain one does, and what can not be is refused in one sentence.
limbeck=$1
dir=$2/pruning
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/pruning.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 500, test: 100, height: 12, width: 12, classes: 4}
split: {train: 400, validation: 100, seed: 1}
student:
  model: {name: vgg, channels: [8, 0, 16]}
  train: {epochs: 1, batch: 64, lr: 0.05, threads: 1}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# run EXIT-CODE COMMAND ...
run() {
    want=$1; shift
    "$limbeck" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/out" "$dir/err" || { fail "nothing says '$1'"; cat "$dir/out" "$dir/err"; }; }
channels='method: channels, keep: 0.5, train: {epochs: 1, batch: 64, lr: 0.02, threads: 1}'

for criterion in l1 l2 median taylor random bn_scale; do
    run 0 distill "$dir/pruning.yaml" --fresh --set "student.prune={$channels, criterion: $criterion}"
    says '16 -> '
done
# in two steps: the one between is a stage of its own, and the same command finds it all done
two="student.prune={$channels, criterion: l2, steps: 2}"
run 0 distill "$dir/pruning.yaml" --fresh --set "$two"
[ -d "$dir/run/student-step1" ] || fail "no first step"
steps=$(cksum <"$dir/run/student/model.onnx")
run 0 distill "$dir/pruning.yaml" --set "$two"
[ "$steps" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "the steps done again end in other weights"
# a first step that is rounded down to the target leaves the second nothing to do
round="student.prune={method: channels, keep: 0.7, criterion: l2, steps: 3, round_to: 8, train: {epochs: 1, batch: 64, threads: 1}}"
run 0 distill "$dir/pruning.yaml" --fresh --set "$round"
says 'student-step2: the step before has met its target'; says ' 16 -> 8 channels'; says ' 8 -> 8 channels'
steps=$(cksum <"$dir/run/student/model.onnx")
run 0 distill "$dir/pruning.yaml" --set "$round"
[ "$steps" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "the steps that are left done again end in other weights"

run 0 sensitivity "$dir/pruning.yaml" "$dir/run/student-dense/model.onnx" --shares 0.25,0.5 --criterion taylor
says 'layer1.conv.weight'
says 'whole: '
says "head.weight .* stays: the model's output logits has this axis"
grep -q '"why": "the model.s output logits has this axis"' "$dir/run/sensitivity/sensitivity.json" || fail "sensitivity.json does not say what stays"
study=$(cksum <"$dir/run/sensitivity/sensitivity.json")
grep -q '"left": 6, "share": 0.25' "$dir/run/sensitivity/sensitivity.json" || fail "sensitivity.json"
grep -q '<svg' "$dir/run/sensitivity/sensitivity.html" || fail "sensitivity.html has no picture"
run 0 sensitivity "$dir/pruning.yaml" "$dir/run/student-dense/model.onnx" --shares 0.25,0.5 --criterion taylor
[ "$study" = "$(cksum <"$dir/run/sensitivity/sensitivity.json")" ] || fail "the same study ends in other figures"
run 2 sensitivity "$dir/pruning.yaml" "$dir/run/student-dense/model.onnx" --shares 0.5,0.25; says 'shares rise'
run 2 sensitivity "$dir/pruning.yaml" "$dir/run/student-dense/model.onnx" --criterion l9; says 'there is no criterion'

# two of four, as integers, packed
sparse='method: magnitude, every: 1, train: {epochs: 2, batch: 64, threads: 1}'
run 0 distill "$dir/pruning.yaml" --fresh --set "student.prune={$sparse, end: 1, pattern: '2:4'}" \
    --set 'student.quantize={train: {epochs: 1, batch: 64, lr: 0.002, threads: 1}, distill: {alpha: 0}}'
says 'pattern 2:4'
run 0 export "$dir/pruning.yaml"
plain=$(wc -c <"$dir/run/student-int8/model.lmb")
run 0 eval "$dir/pruning.yaml" "$dir/run/student-int8/model.lmb" --logits "$dir/plain.npy"
run 0 export "$dir/pruning.yaml" --packed
packed=$(wc -c <"$dir/run/student-int8/model.lmb")
[ "$packed" -lt "$plain" ] || fail "packed $packed bytes, plain $plain"
run 0 eval "$dir/pruning.yaml" "$dir/run/student-int8/model.lmb" --logits "$dir/packed.npy"
cmp -s "$dir/plain.npy" "$dir/packed.npy" || fail "the packed model answers otherwise"
run 0 inspect "$dir/run/student-int8/model.lmb"; says "packed: $packed bytes, $plain when unpacked"; says '% zero, 2:4'
run 0 export "$dir/run/student-int8/qat.onnx" --out "$dir/one.lmb" --packed
run 0 eval "$dir/pruning.yaml" "$dir/one.lmb" --logits "$dir/one.npy"
cmp -s "$dir/one.npy" "$dir/plain.npy" || fail "export of one file packs otherwise"
head -c "$(($(wc -c <"$dir/one.lmb") - 9))" "$dir/one.lmb" >"$dir/cut.lmb"
run 1 inspect "$dir/cut.lmb"; says 'a cut copy'
run 2 export "$dir/run/student-int8/qat.onnx" --out "$dir/one.onnx" --packed; says 'packed is for'
# steps are those on the data that trains, and what could end the training early waits for the schedule
self='distill: {teacher: self, alpha: 1}'
run 0 distill "$dir/pruning.yaml" --fresh --set "student.prune={$sparse, sparsity: 0.9, distill: {teacher: self, alpha: 1,
    unlabelled: {name: synthetic, train: 60, height: 12, width: 12, classes: 4}}}"
says 'pruned student: 90.0. % of the weights'
run 0 distill "$dir/pruning.yaml" --fresh --set "student.prune={$sparse, sparsity: 0.9, $self}" --set student.prune.train.epochs=4 \
    --set student.prune.train.target_accuracy=0.05
says 'pruned student: 90.0. % of the weights'; says 'validation has reached'
run 2 distill "$dir/pruning.yaml" --fresh --set "student.prune={$sparse, pattern: '4:2'}"; says 'it is N:M'
grep -q '^epoch' "$dir/err" && fail "a pattern that is none is found out after a training"
run 2 distill "$dir/pruning.yaml" --fresh --set "student.prune={$channels, criterion: l9}"; says 'there is no criterion'
grep -q '^epoch' "$dir/err" && fail "a criterion that is none is found out after a training"
exit $bad
