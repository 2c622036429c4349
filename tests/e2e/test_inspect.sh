#!/bin/sh
# `limbeck inspect` tells files by their content and says what is in them; files with flipped or missing bytes get a sentence
# or are shown, and never crash it.
limbeck=$1 dir=$2/inspect
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 200, test: 40, height: 12, width: 12, classes: 3}
split: {validation: 20}
student:
  model: {name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}
  train: {epochs: 1, batch: 50, lr: 0.05, threads: 1}
  quantize: {calibration: 60}
Y
"$limbeck" distill "$dir/run.yaml" >"$dir/log" 2>&1 && "$limbeck" export "$dir/run.yaml" >>"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
bad=0
# says WORDS FILE [OPTION...]
says() {
    words=$1
    shift
    "$limbeck" inspect "$@" >"$dir/out" 2>"$dir/err" && grep -q -- "$words" "$dir/out" ||
        { echo "FAILED: inspect $* does not say '$words'"; head -n 5 "$dir/out" "$dir/err"; bad=1; }
}
int8=$dir/run/student-int8
# its content tells what a file is, not its name
cp "$int8/model.lmb" "$dir/a.onnx"; cp "$int8/model-int8.onnx" "$dir/b.lmb"; cp "$dir/run/student/checkpoint.h5" "$dir/c.yaml"
says "head .*Gemm" "$dir/run.yaml" --stage student
says "MACs a sample" "$dir/run.yaml" --stage student
says "a training step of 8 samples" "$dir/run.yaml" --stage student --plan train --batch 8
says "a .lmb model of 15 operators" "$dir/a.onnx"
says "bytes of working memory" "$int8/model.lmb"
says "opset 13" "$dir/b.lmb"
says "QuantizeLinear" "$int8/model-int8.onnx"
says "FakeQuant" "$int8/qat.onnx" --plan infer
says "activations at batch 3" "$dir/run/student/model-f32.onnx" --batch 3
says "best_accuracy" "$dir/c.yaml"
# what a training will be shown: a picture, the same one again
says "sheet.png: 8 training images" "$dir/run.yaml" --stage student --augmented "$dir/sheet.png" --set student.train.augment.policy=trivial
says "again.png: 8" "$dir/run.yaml" --stage student --augmented "$dir/again.png" --set student.train.augment.policy=trivial
says "plain.png: 8" "$dir/run.yaml" --stage student --augmented "$dir/plain.png"
cmp -s "$dir/sheet.png" "$dir/again.png" || { echo "FAILED: the same images are changed in two ways"; bad=1; }
! cmp -s "$dir/sheet.png" "$dir/plain.png" || { echo "FAILED: images are not changed"; bad=1; }
says "name: resnet" "$dir/c.yaml" --texts
n=0
for file in "$int8/model.lmb" "$int8/model-int8.onnx" "$dir/run/student/checkpoint.h5"; do
    bytes=$(wc -c <"$file")
    for k in $(seq 40); do
        at=$((k * 7919 * 31 % bytes))
        cp "$file" "$dir/broken"
        if [ $((k % 4)) -eq 0 ]; then
            head -c $at "$file" >"$dir/broken"
        else
            printf "\\$(printf %o $((k * 37 % 256)))" | dd of="$dir/broken" bs=1 seek=$at conv=notrunc 2>/dev/null
        fi
        "$limbeck" inspect "$dir/broken" >"$dir/out" 2>"$dir/err"; code=$?
        [ $code -le 2 ] || { echo "FAILED: $file broken at $at: exit code $code"; tail -n 3 "$dir/err"; bad=1; }
        [ $code -eq 0 ] || [ "$(wc -l <"$dir/err")" -eq 1 ] || { echo "FAILED: $file broken at $at: not one sentence"; cat "$dir/err"; bad=1; }
        n=$((n + 1))
    done
done
echo "$n broken files looked at"

# what `config show` prints is a configuration, with the defaults of each stage's training, and shows as itself
"$limbeck" config show "$dir/run.yaml" >"$dir/shown.yaml" && "$limbeck" config check "$dir/shown.yaml" >"$dir/out" &&
    "$limbeck" config show "$dir/shown.yaml" >"$dir/again.yaml" && cmp "$dir/shown.yaml" "$dir/again.yaml" &&
    sed '1,/^student:/d' "$dir/shown.yaml" | grep -q "stall_s: 25" || { echo "FAILED: config show"; bad=1; }
exit $bad
