#!/bin/sh
# A student that learns from its teacher's file of logits ends in the bits of one whose teacher answers live, on 1 and 2
# ranks, with and without augmentation; a job killed while the file is made goes on with what is whole; a teacher may be a
# checkpoint; ranges from a calibration set are the same on any number of ranks; what does not fit is told. So does one whose loss
# has a memory.
limbeck=$1
dir=$2/logits
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<'Y'
run: RUN
data: {name: synthetic, train: 2500, test: 200, height: 8, width: 8, classes: 4}
split: {validation: 60}
teacher:
  model: {name: vgg, channels: [8, 0, 12], mean: 100, scale: 0.02}
  train: {epochs: 1, batch: 64, threads: 1, lr: 0.02}
student:
  model: {name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}
  train: {epochs: 2, batch: 128, threads: 1, lr: 0.05, seed: 3, augment: {crop: 1, flip: true}}
  distill: {alpha: 0.6}
  quantize: {method: ptq, calibration: 100}
Y
sed -i "s|RUN|$dir/run|" "$dir/run.yaml"

# weights RANKS OPTION...: the hash that `limbeck distill` prints of the student's final weights
weights() {
    n=$1; shift
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" distill "$dir/run.yaml" --fresh "$@" >"$dir/out" 2>"$dir/log"
    sed -n 's/^weights //p' "$dir/out"
}
fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }
files() { ls "$dir/run/teacher" | grep -c '^logits-.*\.bin$'; }

"$limbeck" train "$dir/run.yaml" --stage teacher >"$dir/out" 2>"$dir/log" || fail "the teacher was not trained"
live=$(weights 1 --set student.distill.cache=false)
[ -n "$live" ] || fail "no weights"
[ "$(files)" = 0 ] || fail "cache=false left a file"
cp "$dir/run/student-int8/qat.onnx" "$dir/one.onnx" || fail "no quantised student"
grep -q "student-int8: test accuracy .* before, .* after; [0-9]* of 200 answers differ" "$dir/out" || fail "the price of the ranges is not told"

[ "$(weights 1 --set student.distill.cache=auto)" = "$live" ] || fail "auto: other bits"
[ "$(files)" = 0 ] || fail "auto made a file that no epoch reads again"
[ "$(weights 2 --set student.distill.cache=true)" = "$live" ] || fail "2 ranks that make the file end in other bits"
[ "$(files)" = 1 ] || fail "cache=true left no file"
cmp -s "$dir/one.onnx" "$dir/run/student-int8/qat.onnx" || fail "2 ranks: other ranges"
file=$(ls "$dir"/run/teacher/logits-*.bin)
cp "$file" "$dir/whole"
[ "$(weights 1 --set student.distill.cache=true)" = "$live" ] || fail "1 rank that reads the file ends in other bits"
[ "$(weights 1 --set student.distill.cache=auto)" = "$live" ] || fail "auto with a file: other bits"
grep -q "from its file" "$dir/log" || fail "auto does not use a file that is there"
plain=$(weights 2 --set student.distill.cache=plain)
[ -n "$plain" ] && [ "$plain" != "$live" ] || fail "plain should differ: is the test blind?"
[ "$(files)" = 2 ] || fail "plain needs a file of its own"

# a loss that remembers what was shown last: the same on any number of ranks
memory='student.distill.losses=[{name: contrastive, width: 8, memory: 200}]'
one=$(weights 1 --set "$memory")
[ -n "$one" ] && [ "$one" != "$live" ] || fail "a loss with a memory changes nothing"
[ "$(weights 2 --set "$memory")" = "$one" ] || fail "2 ranks with a memory end in other bits"

# killed while the file is made, again and again
rm -f "$dir"/run/teacher/logits-*.bin
for t in 0.02 0.05 0.08 0.1 0.15 0.2; do
    "$limbeck" distill "$dir/run.yaml" --fresh --set student.distill.cache=true >/dev/null 2>&1 & p=$!
    sleep $t
    kill -9 $p 2>/dev/null
    wait $p 2>/dev/null
done
dd if=/dev/zero of="$file" bs=1 seek=20000 count=8 conv=notrunc 2>/dev/null
[ "$(weights 1 --set student.distill.cache=true)" = "$live" ] || fail "after kills: other bits"
cmp -s "$dir/whole" "$file" || fail "after kills: another file"

# without augmentation: auto makes a file, and any number of ranks the same bits
still="--set student.train.augment.crop=0 --set student.train.augment.flip=false"
live=$(weights 1 $still --set student.distill.cache=false)
[ -n "$live" ] && [ "$(weights 2 $still)" = "$live" ] || fail "auto without augmentation: other bits"
grep -q "from its file" "$dir/log" || fail "auto does not keep what every epoch reads"

# a checkpoint as teacher is the model that its training left
[ "$(weights 1 $still --set student.distill.teacher="$dir/run/teacher/checkpoint.h5")" = "$live" ] || fail "the checkpoint is another teacher"
weights 1 --set student.distill.teacher="$dir/run/teacher/checkpoint.h5" --set data.classes=5 >/dev/null
grep -q "checkpoint.h5: its weights are of no model that its configuration describes" "$dir/log" || fail "a checkpoint for other samples: no sentence"
echo "teachers agree: $live"
