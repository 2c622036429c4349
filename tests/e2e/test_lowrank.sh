#!/bin/sh
# A student factorised by energy, alone and between pruning and integers: fewer MACs as the table says, kept in the
# report; killed in the middle of each training it ends in the same bits; done twice, it trains nothing; what can not be
# is refused before anything is trained.
limbeck=$1 dir=$2/lowrank shim=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"
cat >"$dir/lowrank.yaml" <<Y
run: $dir/run
launch: {ranks: 1}
data: {name: synthetic, train: 300, test: 100, height: 8, width: 8, classes: 4}
split: {train: 240, validation: 60, seed: 1}
student:
  model: {name: vgg, channels: [12, 0, 24]}
  train: {epochs: 1, batch: 64, lr: 0.05, threads: 1, checkpoint_s: 0}
  lowrank: {energy: 0.7, tile: 2, train: {epochs: 2, batch: 64, lr: 0.01, threads: 1, checkpoint_s: 0}}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
run() {
    want=$1; shift
    "$limbeck" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/out" "$dir/err" || { fail "nothing says '$1'"; cat "$dir/out" "$dir/err"; }; }
unsaid() { grep -q -- "$1" "$dir/out" "$dir/err" && { fail "says '$1'"; cat "$dir/out" "$dir/err"; }; }
figure() { sed -n "s/^$1: .* F1 [0-9.]*, \([0-9]*\) parameters, \([0-9]*\) MACs.*/\\$2/p" "$dir/out"; }
weights() { sed -n 's/^weights //p' "$dir/out" | tr '\n' ' '; }

# alone: what the table counts is what the models count
run 0 distill "$dir/lowrank.yaml"
says 'of 3 layers are factorised'
one=$(weights)
before=$(sed -n "s/.*factorised: [0-9]* of their \([0-9]*\) MACs.*/\1/p" "$dir/out")
after=$(sed -n "s/.*factorised: \([0-9]*\) of their.*/\1/p" "$dir/out")
[ "$before" -gt "$after" ] && [ $((before - after)) -eq $(($(figure student-dense 2) - $(figure student 2))) ] || fail "MACs: the table says $before, $after"
[ -d "$dir/run/student-dense" ] && [ ! -d "$dir/run/student-pruned" ] || fail "folders: $(ls "$dir/run")"
grep -q '"thin": true' "$dir/run/student/lowrank.json" || fail "lowrank.json"
grep -aq 'layer3.conv.weight.core' "$dir/run/student/model.onnx" || fail "no core in the model"
run 0 distill "$dir/lowrank.yaml"
[ "$(weights)" = "$one" ] || fail "done again it ends in other weights"
unsaid '^epoch '
# by hand, without data: the student before it gets the same layers
run 0 factorise "$dir/run/student-dense/model.onnx" --lowrank '{energy: 0.7, tile: 2}'
says "of their $before MACs"
run 0 eval "$dir/lowrank.yaml" "$dir/run/student-dense/model.thin.onnx"; says "$after MACs"
run 2 factorise "$dir/run/student-dense/model.onnx" --lowrank '{energy: 7}'; says 'lowrank:1:2: energy is 7'
run 2 factorise; says 'one model file'
# killed in calls that change files, all over both trainings
n=5 kills=0 code=137
while [ $code -eq 137 ] && [ $n -lt 400 ]; do
    rm -rf "$dir/run"
    KILL_AT=$n LD_PRELOAD=$shim "$limbeck" distill "$dir/lowrank.yaml" >"$dir/out" 2>"$dir/err"; code=$?
    [ $code -eq 137 ] || break
    kills=$((kills + 1))
    run 0 distill "$dir/lowrank.yaml"
    [ "$(weights)" = "$one" ] || fail "killed in call $n it ends in other weights: $(weights), not $one"
    n=$((n + 23))
done
[ $kills -gt 2 ] || fail "only $kills kills"

# all there is: nothing is factorised, and a sentence says so; the first and the last stay
run 0 distill "$dir/lowrank.yaml" --fresh --set student.lowrank.energy=1
says 'no layer is factorised'
[ "$(figure student-dense 2)" = "$(figure student 2)" ] || fail "energy 1 changes the model"

# between pruning and integers, as a run, with a report
chain="student.prune={method: channels, criterion: l2, keep: 0.7, train: {epochs: 1, batch: 64, threads: 1}}"
rm -rf "$dir/run"
run 0 run "$dir/lowrank.yaml" --set "$chain" --set student.lowrank.ends=false \
    --set 'student.quantize={method: ptq, calibration: 64}'
[ -f "$dir/run/student-pruned/model.onnx" ] && [ -f "$dir/run/student-int8/model.lmb" ] || fail "the chain left $(ls "$dir/run")"
grep -q 'layer3.conv.weight</th>' "$dir/run/report.html" || fail "the report has no ranks"
grep -q 'head.weight</th>' "$dir/run/report.html" && fail "the last layer is in the report"
# another configuration: all the student's folders are moved away, and a run without ranks says nothing of them
run 0 run "$dir/lowrank.yaml" --set student.lowrank=
[ -d "$dir/run/student-pruned" ] && fail "student-pruned was not moved away"
grep -q 'Factorised' "$dir/run/report.html" && fail "the report of a run without ranks has them"

# after pruning by magnitude a layer that is not named keeps its zeros, through this training too
cat >"$dir/sparse.yaml" <<Y
$(sed "s|^run: .*|run: $dir/sparse|; /lowrank:/d" "$dir/lowrank.yaml")
  prune: {method: magnitude, sparsity: 0.6, every: 1, end: 1, train: {epochs: 2, batch: 64, threads: 1}}
  lowrank: {energy: 0.7, layers: [layer3.conv.weight], train: {epochs: 1, batch: 64, lr: 0.01, threads: 1}}
  quantize: {method: ptq, calibration: 64}
Y
run 0 distill "$dir/sparse.yaml"; says '1 of 1 layers are factorised'
run 0 export "$dir/sparse.yaml"
run 0 inspect "$dir/sparse/student-int8/model.lmb"; says ' layer1.conv .* 6[0-9].[0-9]* % zero'; says 'layer3.conv.core'

# refused before anything is trained
rm -rf "$dir/run"
for wrong in 'energy=0|energy is 0' 'energy=2|energy is 2' 'gain=1|gain is 1' 'layers=[nobody]|can be factorised; there are ' 'train.lr=-1|lr is -1'; do
    run 2 distill "$dir/lowrank.yaml" --set "student.lowrank.${wrong%%|*}"; says "${wrong#*|}"; unsaid '^epoch '
    run 2 config check "$dir/lowrank.yaml" --set "student.lowrank.${wrong%%|*}"; says "${wrong#*|}"
done
echo "$kills kills"
exit $bad
