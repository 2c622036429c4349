#!/bin/sh
# What a student can not become is refused by `config check` and by `distill`, in one sentence, before anything is trained;
# and each training has the teacher of the student, but for what its own section says.
limbeck=$1 dir=$2/before_work
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/teacher.yaml" <<Y
run: $dir/other
data: {name: synthetic, train: 200, test: 40, height: 8, width: 8, classes: 3}
split: {train: 192}
teacher:
  model: {name: mlp, hidden: [8], mean: 128, scale: 0.02}
  train: {epochs: 1, batch: 64, threads: 1}
Y
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 200, test: 40, height: 8, width: 8, classes: 3}
split: {train: 160, validation: 40}
student:
  model: {name: vgg, channels: [6, 0, 8], mean: 128, scale: 0.02}
  train: {epochs: 1, batch: 64, threads: 1}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# refused SENTENCE --set ...
refused() {
    sentence=$1; shift
    for command in "config check" distill; do
        "$limbeck" $command "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null && fail "$command $* is taken"
        grep -q -- "$sentence" "$dir/err" || fail "$command $*: nothing says '$sentence': $(tail -1 "$dir/err")"
        [ -e "$dir/run" ] && { fail "$command $*: refused after work"; rm -rf "$dir/run"; }
    done
}
"$limbeck" train "$dir/teacher.yaml" --stage teacher >/dev/null 2>"$dir/err" || fail "a teacher: $(tail -1 "$dir/err")"
"$limbeck" train "$dir/teacher.yaml" --stage teacher --set run="$dir/five" --set data.classes=5 >/dev/null 2>"$dir/err" || fail "a teacher of five classes"
other=$dir/other/teacher/model.onnx

train='train: {epochs: 2, batch: 64, threads: 1}'
refused 'no BatchNormalization follows' --set 'student.model={name: mlp, hidden: [8]}' --set "student.prune={method: channels, keep: 0.5, $train}"
refused 'one target' --set "student.prune={method: channels, $train}"
refused 'can not be met' --set "student.prune={method: channels, macs: 0.0001, $train}"
refused 'the training has 2 epochs' --set "student.prune={method: magnitude, end: 3, $train}"
refused 'train.patience is 1, and nothing says' --set "student.prune={method: magnitude, train: {epochs: 2, patience: 1}}" --set split.validation=0
refused 'the teacher has 5 classes, the student 3' --set "student.prune={method: channels, keep: 0.5, $train, distill: {teacher: $dir/five/teacher/model.onnx}}"
refused 'there is no teacher: .*/run/teacher/model.onnx is not there' --set 'student.distill={alpha: 0.5}'
refused "the student computes no value named 'a'" --set "student.distill={teacher: $other, losses: [{name: hint, student: a, teacher: b}]}"
refused 'nowhere' --set "student.quantize={qat: {layers: {nowhere: 4}}, $train}"
refused 'learned and scales power_of_two exclude each other' --set "student.quantize={qat: {scheme: learned, scales: power_of_two}, $train}"
refused 'quantize.prove compares by validation samples' --set "student.quantize={prove: true, $train, distill: {teacher: self}}" --set split.validation=0
refused 'calibration with 300 images; the training part has 160' --set 'student.quantize={calibration: 300}'
refused "there is no observer 'minmix'" --set 'student.quantize={observer: minmix}'

# a comparison's trainings are of the student before it is pruned
sed 's/epochs: 1/epochs: 1, seed: 2/' "$dir/run.yaml" >"$dir/two.yaml"
"$limbeck" compare "$dir/run.yaml" "$dir/two.yaml" --stage student --seeds 1,2 --out "$dir/compare" \
    --set "student.prune={method: magnitude, $train}" >"$dir/out" 2>"$dir/err" </dev/null || fail "compare: $(tail -1 "$dir/err")"

# distill NAME [--set ...]: what the integers are
distill() {
    name=$1; shift
    "$limbeck" distill "$dir/run.yaml" --set run="$dir/$name" "$@" >"$dir/out" 2>"$dir/err" </dev/null || fail "$name: $(tail -1 "$dir/err")"
    cksum <"$dir/$name/student-int8/qat.onnx"
}
# fewer samples than `calibration` by itself asks for
distill few --set 'student.quantize={}' >/dev/null
# the teacher, the temperature and the losses of the student, and no other
lesson="teacher: $other, temperature: 4, losses: [dkd]"
whole=$(distill whole --set "student.distill={alpha: 0.9, $lesson}" --set "student.quantize={$train, distill: {alpha: 0.3, $lesson}}")
part=$(distill part --set "student.distill={alpha: 0.9, $lesson}" --set "student.quantize={$train, distill: {alpha: 0.3}}")
[ "$whole" = "$part" ] || fail "what quantize.distill does not say is not the student's"
all=$(distill all --set "student.distill={alpha: 0.9, $lesson}" --set "student.quantize={$train}")
same=$(distill same --set "student.distill={alpha: 0.9, $lesson}" --set "student.quantize={$train, distill: {alpha: 0.9, $lesson}}")
[ "$all" = "$same" ] || fail "integers have another teacher than the student"
[ "$all" != "$part" ] || fail "alpha changes nothing: is the test blind?"
list=$(distill list --set "student.distill={alpha: 0.9, $lesson}" --set "student.quantize={$train, distill: {teachers: [$other]}}")
[ "$list" = "$all" ] || fail "teachers in place of a teacher"
own=$(distill own --set 'student.distill={alpha: 0}' --set "student.quantize={$train, distill: {teacher: self}}")
none=$(distill none --set 'student.distill={alpha: 0}' --set "student.quantize={$train}")
[ "$own" != "$none" ] || fail "a teacher of its own does not teach"
exit $bad
