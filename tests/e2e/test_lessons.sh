#!/bin/sh
# `limbeck distill` with several losses and several teachers: it trains, goes on to the same weights after a stop, and what can
# not be is refused in one sentence before any work.
limbeck=$1
dir=$2/lessons
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/lessons.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 500, test: 100, height: 12, width: 12, classes: 4}
split: {train: 400, validation: 100, seed: 1}
teacher:
  model: {name: vgg, channels: [8, 0, 8]}
  train: {epochs: 2, batch: 64, lr: 0.05, threads: 1}
student:
  model: {name: resnet, depth: 8, width: 4}
  train: {epochs: 2, batch: 64, lr: 0.05, threads: 1}
  distill: {alpha: 0.5, losses: [{name: dkd, others: 2}, {name: attention, weight: 10}, {name: similarity, weight: 10}]}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# distill EXIT-CODE [--set ...]
distill() {
    want=$1; shift
    "$limbeck" distill "$dir/lessons.yaml" --fresh "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck distill $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/err" || { fail "nothing says '$1'"; tail -3 "$dir/err"; }; }

"$limbeck" train "$dir/lessons.yaml" --stage teacher >"$dir/out" 2>"$dir/err" || fail "no teacher: $(tail -3 "$dir/err")"
distill 0
lessons=$(cksum <"$dir/run/student/model.onnx")
distill 0
[ "$lessons" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "the same lessons end in other weights"
distill 0 --set 'student.distill.losses=[kl]'
plain=$(cksum <"$dir/run/student/model.onnx")
[ "$lessons" != "$plain" ] || fail "the lessons change nothing"

# losses with weights of their own: none of them is left in the model
own='[{name: hint, weight: 1}, {name: contrastive, width: 8}, relational]'
distill 0 --set "student.distill.losses=$own"
heads=$(cksum <"$dir/run/student/model.onnx")
[ "$heads" != "$plain" ] || fail "hint, contrastive and relational change nothing"
grep -q 'limbeck.lesson' "$dir/run/student/model.onnx" && fail "a head is left in the model"
distill 0 --set "student.distill.losses=$own"
[ "$heads" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "losses with weights of their own end in others"

# a memory of what was shown last: another training, the same again, and the same after kill -9
memory='student.distill.losses=[{name: contrastive, width: 8, memory: 96}]'
distill 0 --set 'student.distill.losses=[{name: contrastive, width: 8}]' --set student.train.epochs=4
without=$(cksum <"$dir/run/student/model.onnx")
distill 0 --set "$memory" --set student.train.epochs=4
whole=$(cksum <"$dir/run/student/model.onnx")
[ "$whole" != "$without" ] || fail "a memory changes nothing"
"$limbeck" distill "$dir/lessons.yaml" --fresh --set "$memory" --set student.train.epochs=4 >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
i=0
until [ -e "$dir/run/student/checkpoint.h5.prev" ] || [ $i -ge 1200 ]; do sleep 0.05; i=$((i + 1)); done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
"$limbeck" distill "$dir/lessons.yaml" --set "$memory" --set student.train.epochs=4 >"$dir/out" 2>"$dir/err" </dev/null || fail "killed with a memory, it does not go on"
[ "$whole" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "killed with a memory, it ends in other weights"
grep -q 'limbeck.memory' "$dir/run/student/model.onnx" && fail "the memory is left in the model"
distill 2 --set 'student.distill.losses=[{name: contrastive, memory: 20}]'; says 'has 20 rows and a batch 64'

# born again, twice; pruned and quantised it is taught by what it was, and the integers have to prove that this helps
rm -rf "$dir/run/student"
distill 0 --set 'student.distill={alpha: 0.5, teacher: self, generations: 2}' --set student.train.epochs=1 --set student.train.threads=1 \
    --set 'student.prune={method: channels, criterion: l2, keep: 0.5, train: {epochs: 1, batch: 64, threads: 1}}' \
    --set 'student.quantize={prove: true, train: {epochs: 1, batch: 64, threads: 1}, distill: {teacher: self}}'
for s in student-dense-generation0 student-dense-generation1 student-dense student-int8-first student-int8-alone student-int8-taught; do
    [ -d "$dir/run/$s" ] || fail "no stage $s"
done
says_so='validation .* with the teacher, .* without (.* won, .* lost of 100; p [0-9.e-]*): the teacher'
grep -q "$says_so" "$dir/out" || fail "nothing says whether the teacher helps"
proof=$dir/run/student-int8/proof.json
won=$(sed -n 's/.*"won": \([0-9]*\).*/\1/p' "$proof")
lost=$(sed -n 's/.*"lost": \([0-9]*\).*/\1/p' "$proof")
kept=alone
[ "$won" -gt "$lost" ] && kept=taught
grep -q "\"kept\": \"$kept\"" "$proof" || fail "$won won and $lost lost, and kept is: $(cat "$proof")"
"$limbeck" export "$dir/lessons.yaml" >"$dir/out" 2>"$dir/err" || fail "export: $(tail -3 "$dir/err")"
grep -q "\"note\": \".*$says_so" "$dir/run/student-int8/stage.json" || fail "stage.json does not say whether the teacher helps"
rm -rf "$dir"/run/student*

# layers by the names that inspect prints; pruned and quantised students learn so as well
"$limbeck" inspect "$dir/lessons.yaml" --stage student | grep -q '\[1, 4, 12, 12\]  *relu_2$' || fail "inspect does not name relu_2"
distill 0 --set 'student.distill.losses=[{name: attention, student: relu_2, teacher: relu, weight: 10}]' --set student.train.epochs=1 \
    --set 'student.prune={method: channels, keep: 0.5, train: {epochs: 1, batch: 64, threads: 1}}' \
    --set 'student.quantize={train: {epochs: 1, batch: 64, threads: 1}, distill: {losses: [kl, {name: attention, weight: 10}, similarity]}}'
rm -rf "$dir/run/student" "$dir/run/student-dense" "$dir/run/student-int8"

# one teacher twice is that teacher, from a file of logits too; several need not be of one kind
twice="student.distill.teachers=[$dir/run/teacher/model.onnx, {file: $dir/run/teacher/model.onnx, weight: 3}]"
distill 0 --set 'student.distill.losses=[dkd]' --set "$twice" --set student.distill.cache=false
live=$(cksum <"$dir/run/student/model.onnx")
distill 0 --set 'student.distill.losses=[dkd]' --set "$twice" --set student.distill.cache=true
[ "$live" = "$(cksum <"$dir/run/student/model.onnx")" ] || fail "two teachers from their file of logits end in other weights"

distill 2 --set student.distill.cache=true; says 'looks into the teacher, of which a file of logits tells nothing: set cache: false'
distill 2 --set "$twice"; says 'looks into one teacher: give `teacher` in place of `teachers`'
distill 1 --set 'student.distill.losses=[kl]' --set "student.distill.teachers=[$dir/none.onnx]"; says "there is no file '$dir/none.onnx'"
distill 2 --set 'student.distill.losses=[{name: attention, student: a, teacher: b}]'; says "the student computes no value named 'a'"
"$limbeck" list losses >"$dir/out" 2>&1 && grep -q '^similarity .*arXiv:1907.09682' "$dir/out" || fail "limbeck list losses"
[ "$(grep -c '^\(similarity\|relational\|contrastive\) .* shard (train.shard)' "$dir/out")" -eq 3 ] || fail "list losses does not say which samples are compared"
exit $bad
