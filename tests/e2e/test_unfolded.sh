#!/bin/sh
# Quantisation in two phases, `quantize.unfolded` before `quantize.train`: killed (kill -9, kill_at.c) in either and started
# again it ends in the bytes of an undisturbed run, whose statistics were learnt on; the integers go out as always; what can
# not be is refused in one sentence before any work.
limbeck=$1 dir=$2/unfolded shim=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 40, height: 8, width: 8, classes: 3}
split: {validation: 40}
student:
  model: {name: vgg, channels: [6, 0, 8], mean: 128, scale: 0.02}
  train: {epochs: 1, batch: 64, threads: 1, lr: 0.05}
  quantize:
    qat: {bits: 4}
    unfolded: {epochs: 2, batch: 64, threads: 1, lr: 0.02, checkpoint_s: 0}
    train: {epochs: 2, batch: 64, threads: 1, lr: 0.002, checkpoint_s: 0}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
distill() { "$limbeck" distill "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null; }
# refused SENTENCE --set ...
refused() {
    sentence=$1; shift
    for command in "config check" distill; do
        "$limbeck" $command "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null && fail "$command $* is taken"
        grep -q -- "$sentence" "$dir/err" || fail "$command: nothing says '$sentence': $(tail -1 "$dir/err")"
    done
}
refused 'give the second as quantize.train' --set 'student.quantize={unfolded: {epochs: 1}}'
refused 'give the second as quantize.train' --set student.quantize.method=ptq
refused 'quantize.equalise changes folded weights' --set student.quantize.equalise=true
refused 'correct_bias is for what is not trained' --set student.quantize.correct_bias=true
[ -e "$dir/run/student" ] && fail "a refusal comes after work"

"$limbeck" config check "$dir/run.yaml" >"$dir/out" 2>"$dir/err" || fail "config check: $(cat "$dir/err")"
distill || fail "the undisturbed run: $(tail -3 "$dir/err")"
int8=$dir/run/student-int8
whole=$(cksum <"$int8/qat.onnx")
[ "$(wc -l <"$int8-unfolded/history.jsonl")" = 2 ] && [ "$(wc -l <"$int8/history.jsonl")" = 2 ] || fail "not two epochs in each phase"
"$limbeck" export "$dir/run.yaml" >"$dir/out" 2>"$dir/err" && [ -s "$int8/model.lmb" ] || fail "export: $(tail -3 "$dir/err")"
rm -rf "$int8" "$int8-unfolded"
distill --set 'student.quantize={qat: {bits: 4}, train: {epochs: 2, batch: 64, threads: 1, lr: 0.002, checkpoint_s: 0}}'
[ "$(cksum <"$int8/qat.onnx")" != "$whole" ] || fail "the first phase changes nothing"

n=0 code=137 first=0 second=0
while [ $code -eq 137 ] && [ $n -lt 600 ]; do
    n=$((n + 17))
    rm -rf "$int8" "$int8-unfolded"
    KILL_AT=$n LD_PRELOAD=$shim "$limbeck" distill "$dir/run.yaml" >"$dir/out" 2>"$dir/err" </dev/null; code=$?
    [ $code -eq 137 ] || break
    if [ -e "$int8/checkpoint.h5" ]; then second=$((second + 1)); elif [ -e "$int8-unfolded/checkpoint.h5" ]; then first=$((first + 1)); fi
    distill || fail "killed in call $n, it does not go on: $(tail -1 "$dir/err")"
    [ "$(cksum <"$int8/qat.onnx")" = "$whole" ] || fail "killed in call $n, it ends in other bytes"
done
[ $code -eq 0 ] || fail "call $n: exit code $code"
[ $first -gt 0 ] && [ $second -gt 0 ] || fail "$first kills in the first phase, $second in the second: is the test blind?"
echo "$first kills in the first phase, $second in the second"
exit $bad
