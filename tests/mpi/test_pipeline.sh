#!/bin/sh
# train.pipeline: stages on 1, 2 and 4 ranks, and pipelines side by side, end in the same weights, bit for bit: those of as many shards
# of the whole model. A checkpoint goes on with another number of ranks; the trace shows who did what when.
. "$(dirname "$0")/ranks.sh"
begin pipeline "$1" "$2"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12, 16], dropout: 0.1}
train: {epochs: 2, batch: 128, shard: 32, threads: 1, lr: 0.01, ema: 0.9, clip: 0.05, optimizer: adam, augment: {crop: 1, flip: true}}
Y

# 4 microbatches of 32 are 4 shards of 32; the last batch of an epoch has 104 samples, so a short one
for model in "{name: vgg, channels: [8, 0, 12, 16], dropout: 0.1}" "{name: resnet, depth: 8}"; do
    whole=$(weights 1 --fresh --set "model=$model")
    [ -n "$whole" ] || fail "one rank printed no weights of $model"
    for ranks_stages in "1 2" "2 2" "4 2" "1 4" "2 4" "4 4"; do
        set -- $ranks_stages
        [ "$(weights "$1" --fresh --set "model=$model" $(stages "$2" 4))" = "$whole" ] || fail "$2 stages on $1 ranks end in other bits: $model"
    done
done
for n in 1 2 4; do # $whole: of the ResNet
    [ "$(weights $n --fresh --set "model=$model" $(stages 4 4) --set train.pipeline.cost=measured)" = "$whole" ] || fail "stages cut by measured cost on $n ranks end in other bits"
    grep -q "^stages end before nodes [0-9]* [0-9]* [0-9]*, as measured" "$dir/log.$n" || fail "where measuring cut is not said"
done
[ "$(weights 2 --fresh $(stages 2 8))" != "$(weights 2 --fresh $(stages 2 4))" ] || fail "other microbatches should give other bits: is the test blind?"
five=$(weights 1 --fresh $(stages 4 5)) # 26 samples each; no power of two
for n in 2 4; do
    [ "$(weights $n --fresh $(stages 4 5))" = "$five" ] || fail "5 microbatches on $n ranks end in other bits"
done
[ "$(weights 4 --fresh $(stages 4 4) --set train.clip=0)" = "$(weights 1 --fresh --set train.clip=0)" ] || fail "without clipping: other bits"
grep -q "pipeline of 4 stages on 4 ranks, 4 microbatches: ranks waited" "$dir/log.4" || fail "how long ranks waited is not said"

# a student with a teacher in its loss, then weights held at zero, the least of all layers: with stages, and with a shared optimizer
training="{epochs: 1, batch: 128, shard: 32, threads: 1, optimizer: adam, lr: 0.01, ema: 0.9}"
cat >"$dir/student.yaml" <<Y
run: $dir/student
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
teacher: {model: {name: vgg, channels: [16, 16, 0, 32]}, train: {epochs: 1, batch: 128, threads: 1}}
student:
  model: {name: vgg, channels: [8, 0, 8, 12]}
  train: $training
  distill: {alpha: 0.5}
  prune: {method: magnitude, sparsity: 0.6, every: 1, scope: global, train: $training}
Y
taught() { # RANKS OPTION...: the same options for both trainings
    n=$1; shift
    for o; do set -- "$@" --set "student.train.$o" --set "student.prune.train.$o"; shift; done
    rm -rf "$dir/student/student" "$dir/student/student-dense"
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" distill "$dir/student.yaml" --fresh "$@" 2>"$dir/log.$n" | sed -n 's/^weights //p' | tr '\n' ' '
}
"$limbeck" train "$dir/student.yaml" --stage teacher >"$dir/log.1" 2>&1 || fail "no teacher"
alone=$(taught 1)
[ "$(echo "$alone" | wc -w)" = 2 ] || fail "not two trainings of a student: $alone"
[ "$(taught 4 pipeline.stages=4 pipeline.microbatches=4)" = "$alone" ] || fail "a student in stages ends in other bits"
[ "$(taught 4 shard_optimizer=true)" = "$alone" ] || fail "a student of ranks that share an optimizer ends in other bits"

# saved in every step, stopped by nobody; then the checkpoint as a kill would leave it goes on with another number of ranks
often="$(stages 4 4) --set train.pipeline.cost=measured --set train.epochs=6 --set train.checkpoint_s=0"
long=$(weights 1 --fresh $often)
keep 2 --fresh $often
[ "$(cat "$dir/out")" = "$long" ] || fail "saving often changes bits"
for n in 4 1; do
    [ "$(go_on $n $often)" = "$long" ] || fail "2 ranks' checkpoint ends in other bits with $n"
    grep -q "as measured when the training began" "$dir/log.$n" || fail "$n ranks do not cut as the checkpoint says"
    sed -n 's/^stages end before nodes \(.*\), as.*/\1/p' "$dir/log.$n" >"$dir/ends.$n"
done

cmp -s "$dir/ends.1" "$dir/ends.4" || fail "ranks that go on from one checkpoint cut differently: $(cat "$dir/ends.1") and $(cat "$dir/ends.4")"

"$limbeck" inspect "$dir/run.yaml" --ranks 4 $(stages 4 4) >"$dir/log.i" 2>&1 || fail "inspect"
[ "$(grep -c '^  [0-3]     [0-3] ' "$dir/log.i")" = 4 ] || fail "inspect does not show 4 stages"
grep -q "parameters state, MB" "$dir/log.i" || fail "inspect does not show what each rank keeps"
grep -q "kB in 1, behind" "$dir/log.i" || fail "inspect does not say what crosses the cuts"

refuse 2 "can not share out evenly" $(stages 3 4)
refuse 2 "stages at most" $(stages 40 4)
refuse 2 "does not go with train.shard_optimizer" $(stages 2 4) --set train.shard_optimizer=true
refuse 2 "does not go with train.mode=fast" $(stages 2 4) --set train.mode=fast

command -v python3 >/dev/null || { echo "pipelines agree: $long; no python3 to read a trace"; exit 0; }
mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh $(stages 2 4) --trace "$dir/trace.json" --trace-steps 1 \
    >"$dir/log.t" 2>&1 || fail "training with --trace"
python3 - "$dir/trace.json" <<'P' || fail "what the trace says"
import json, sys
rows = {0: [], 1: []}
for e in json.load(open(sys.argv[1]))['traceEvents']:
    if e['ph'] == 'X' and e['cat'] == 'pipeline' and not e['name'].startswith('with'):
        rows[e['pid']].append((e['ts'], e['name']))
order = {r: [name for _, name in sorted(rows[r])] for r in rows}
assert order[0] == ['forwards 0', 'forwards 1', 'backwards 0', 'forwards 2', 'backwards 1', 'forwards 3', 'backwards 2', 'backwards 3'], order
assert order[1] == [f'{way} {i}' for i in range(4) for way in ('forwards', 'backwards')], order
P
echo "pipelines agree: $long"
