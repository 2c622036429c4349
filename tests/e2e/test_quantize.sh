#!/bin/sh
# A student that becomes integers by training, `student.quantize.train`: whatever says how its ranges begin changes what
# comes out; killed (kill -9, kill_at.c) and started again it ends in the same bytes; what `limbeck quantize` takes, a
# Concat here, `limbeck distill` trains, and by the names of the student's own layers; what has no integer form, and an
# option that would do nothing, is refused in one sentence before any work, by `config check` and by the command.
limbeck=$1 dir=$2/quantize shim=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 80, height: 8, width: 8, classes: 3}
split: {validation: 40}
student:
  model:
    name: layers
    mean: 128
    scale: 0.02
    layers:
      - conv: {channels: 6}
      - concat: {branches: [[{conv: {channels: 4, kernel: 1}}], [{conv: {channels: 4}}]]}
      - conv: {channels: 8}
      - pool: global
      - dense
  train: {epochs: 2, batch: 64, threads: 1, lr: 0.05}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
T='train: {epochs: 2, batch: 64, threads: 1, lr: 0.002, checkpoint_s: 0}'
int8=$dir/run/student-int8
distill() { "$limbeck" distill "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null; }
# refused SENTENCE --set ...
refused() {
    sentence=$1; shift
    for command in "config check" distill; do
        "$limbeck" $command "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null && fail "$command $* is taken"
        grep -q -- "$sentence" "$dir/err" || fail "$command: nothing says '$sentence': $(tail -1 "$dir/err")"
    done
}
quantize() { "$limbeck" quantize "$dir/run.yaml" "$dir/run/student/model.onnx" --out "$dir/q.onnx" "$@" >"$dir/out" 2>"$dir/err"; }

refused 'AveragePool has no integer form' --set "student.quantize={$T}" \
    --set 'student.model={name: layers, mean: 128, layers: [{conv: {channels: 6}}, {pool: average}, {conv: {channels: 6}}, {pool: global}, dense]}'
refused 'quantize.prove is about a training' --set 'student.quantize={prove: true}'
refused 'quantize.distill is about a training' --set 'student.quantize={distill: {alpha: 0.5}}'
refused 'quantize.distill is about a training' --set "student.quantize={method: ptq, distill: {alpha: 0.5}, $T}"
refused 'qat.scheme is learned, and nothing is trained' --set 'student.quantize={qat: {scheme: learned}}'
refused 'correct_bias is for what is not trained' --set "student.quantize={correct_bias: true, $T}"
refused 'those of the observer entropy are held' --set "student.quantize={observer: entropy, qat: {observer: minmax}, $T}"
refused 'give 1 to 260' --set "student.quantize={observer: minmax, calibration: 1000, $T}"
refused 'give quantize.observer' --set "student.quantize={calibration: 50, $T}"
refused 'give quantize.observer' --set "student.quantize={seed: 7, $T}"
refused 'did you mean entropy?' --set "student.quantize={observer: entropi, $T}"
refused 'distill.generations is 3' --set 'student.distill={generations: 3}'
refused 'quantize.distill.generations is 2' --set "student.quantize={distill: {teacher: self, generations: 2}, $T}"
[ -e "$dir/run/student" ] && fail "a refusal comes after work"

seen=
for begins in 'qat: {bits: 4}' 'qat: {bits: 4}, observer: percentile' 'qat: {bits: 4}, observer: entropy' \
    'qat: {bits: 4}, observer: minmax, calibration: 50' 'qat: {bits: 4}, observer: minmax, calibration: 50, seed: 7'; do
    rm -rf "$int8"
    distill --set "student.quantize={$begins, $T}" || fail "$begins: $(tail -1 "$dir/err")"
    [ "$(wc -l <"$int8/history.jsonl")" = 2 ] || fail "$begins: not two epochs"
    case " $seen " in *" $(cksum <"$int8/qat.onnx" | cut -d' ' -f1) "*) fail "$begins changes nothing" ;; esac
    seen="$seen $(cksum <"$int8/qat.onnx" | cut -d' ' -f1)"
done

# with ranges that move, and with ranges that are held
for begins in 'qat: {bits: 4}, observer: minmax' 'qat: {bits: 4}, observer: entropy'; do
    rm -rf "$int8"
    distill --set "student.quantize={$begins, $T}"
    whole=$(cksum <"$int8/qat.onnx")
    kills=0
    for n in 24 32 44; do
        rm -rf "$int8"
        KILL_AT=$n LD_PRELOAD=$shim "$limbeck" distill "$dir/run.yaml" --set "student.quantize={$begins, $T}" >"$dir/out" 2>"$dir/err" </dev/null
        [ -e "$int8/checkpoint.h5" ] && [ ! -e "$int8/qat.onnx" ] && kills=$((kills + 1))
        distill --set "student.quantize={$begins, $T}" || fail "killed in call $n, it does not go on: $(tail -1 "$dir/err")"
        [ "$(cksum <"$int8/qat.onnx")" = "$whole" ] || fail "$begins: killed in call $n, it ends in other bytes"
    done
    [ $kills -gt 0 ] || fail "$begins: no kill fell into the training: is the test blind?"
done
"$limbeck" export "$int8/qat.onnx" --out "$dir/trained.lmb" >"$dir/out" 2>"$dir/err" || fail "export: $(tail -1 "$dir/err")"
"$limbeck" eval "$dir/run.yaml" "$dir/trained.lmb" >"$dir/out" 2>"$dir/err" && grep -q 'test accuracy' "$dir/out" || fail "eval: $(tail -1 "$dir/err")"

# a layer that reads the Concat, by the name that the student's file has
quantize --qat '{layers: {conv3.conv.weight: 2}}' || fail "bits by name: $(tail -1 "$dir/err")"
"$limbeck" export "$dir/q.onnx" --out "$dir/named.lmb" >"$dir/out" 2>"$dir/err"
[ "$("$limbeck" inspect "$dir/named.lmb" | grep -c 'conv3.*weights of 2 bits')" = 2 ] || fail "not both parts of conv3 have 2 bits"
quantize --qat '{scheme: learned}' && fail "quantize takes scheme learned"
grep -q 'nothing is trained' "$dir/err" || fail "scheme learned: $(tail -1 "$dir/err")"
quantize --qat '{observer: minmax, momentum: 0.5}' && fail "quantize takes an observer of training"
grep -q 'qat.observer says how ranges move' "$dir/err" || fail "qat.observer: $(tail -1 "$dir/err")"
exit $bad
