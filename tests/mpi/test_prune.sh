#!/bin/sh
# A pruned student, by channels and by magnitudes: the same bits on 1, 2 and 4 ranks and after kills at any time; the model
# is smaller, or as sparse as asked for, to the quantised end; a second run trains nothing; what does not fit is told.
limbeck=$1
dir=$2/prune
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/head.yaml" <<'Y'
run: RUN
data: {name: synthetic, train: 1200, test: 200, height: 8, width: 8, classes: 4}
split: {validation: 60}
student:
  model: {name: resnet, depth: 8, width: 8, mean: 100, scale: 0.02}
  train: {epochs: 2, batch: 64, shard: 16, threads: 1, lr: 0.05, seed: 3, checkpoint_s: 0.05}
  quantize: {train: {epochs: 1, batch: 64, shard: 16, threads: 1, lr: 0.002, checkpoint_s: 0.05}, distill: {alpha: 0}}
Y
train="train: {epochs: 8, batch: 64, shard: 16, threads: 1, lr: 0.05, ema: 0.9, checkpoint_s: 0.05}"
{ cat "$dir/head.yaml"; echo "  prune: {method: channels, macs: 0.5, $train}"; } | sed "s|RUN|$dir/channels|" >"$dir/channels.yaml"
{ cat "$dir/head.yaml"; echo "  prune: {method: magnitude, sparsity: 0.8, every: 3, scope: global, $train}"; } | sed "s|RUN|$dir/magnitude|" >"$dir/magnitude.yaml"

fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }
# weights METHOD RANKS OPTION...: the three hashes that `limbeck distill` prints
weights() {
    file=$dir/$1.yaml; n=$2; shift 2
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" distill "$file" "$@" >"$dir/out" 2>"$dir/log"
    sed -n 's/^weights //p' "$dir/out" | tr '\n' ' '
}
figure() { sed -n "s/^$1: .* F1 [0-9.]*, \([0-9]*\) parameters, \([0-9]*\) MACs.*/\\$2/p" "$dir/out"; }

for method in channels magnitude; do
    one=$(weights $method 1)
    [ "$(echo "$one" | wc -w)" = 3 ] || fail "$method: not three trainings: $one"
    cp "$dir/out" "$dir/$method.out"
    if [ $method = channels ]; then
        [ $((2 * $(figure student 2))) -le "$(figure student-dense 2)" ] || fail "more than half of the MACs are left"
        [ "$(figure student 1)" -lt "$(figure student-dense 1)" ] || fail "no parameters less"
        grep -q "head.weight .* 4 -> 4 channels: the model's output logits" "$dir/out" || fail "why the head stays is not told"
    else
        grep -q "pruned student: 80.0[0-9] % of the weights are zero" "$dir/out" || fail "not as sparse as asked for"
    fi
    cp "$dir/$method/student-int8/qat.onnx" "$dir/one.onnx" || fail "$method: no quantised student"

    again=$(weights $method 1)
    [ "$again" = "$one" ] || fail "$method: a second run ends in other bits"
    [ "$(grep -c "epochs are done already" "$dir/log")" = 3 ] || fail "$method: a second run trains again"
    grep -q "^epoch " "$dir/log" && fail "$method: a second run trains again"
    for ranks in 2 4; do
        [ "$(weights $method $ranks --fresh)" = "$one" ] || fail "$method: $ranks ranks end in other bits"
    done

    rm -rf "${dir:?}/$method"
    for t in 0.2 0.3 0.35 0.4 0.3 0.5 0.6; do
        "$limbeck" distill "$dir/$method.yaml" >/dev/null 2>>"$dir/killed" & p=$!
        sleep $t
        kill -9 $p 2>/dev/null
        wait $p 2>/dev/null
    done
    [ "$(weights $method 1)" = "$one" ] || fail "$method: after kills other bits"
    cmp -s "$dir/one.onnx" "$dir/$method/student-int8/qat.onnx" || fail "$method: after kills another quantised student"
done

# what is found out before anything is trained
for wrong in "prune.sparsity=0.5|keys are: method" "prune.macs=0.0001|can not be met" "prune.criterion=best|bn_scale, l1" "prune.keep=0.5|one target"; do
    "$limbeck" config check "$dir/channels.yaml" --set "student.${wrong%|*}" >/dev/null 2>"$dir/log" && fail "$wrong is taken"
    grep -q "${wrong#*|}" "$dir/log" || fail "$wrong: no sentence"
done
"$limbeck" config check "$dir/magnitude.yaml" --set student.prune.end=12 >/dev/null 2>"$dir/log" && fail "a schedule longer than the training is taken"
grep -q "the training has 8 epochs" "$dir/log" || fail "prune.end: no sentence"
echo "pruned students agree"
