#!/bin/sh
# `limbeck tune` on tiny data: settings that can not be meant are refused before any work; each method finds something; folds,
# hopeless and failed trials; killed (kill -9) again and again and resumed, the journal and the answer are the same to the byte;
# best.yaml is a configuration that train takes, and its score is what the search said.
limbeck=$1
dir=$2/tune
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/t.yaml" <<Y
run: $dir/first
data: {name: synthetic, train: 400, test: 100, height: 8, width: 8, classes: 4}
split: {train: 240, validation: 160, seed: 1}
teacher:
  model: {name: mlp, hidden: [16], mean: 120, scale: 0.015}
  train: {epochs: 3, batch: 32, lr: 0.1, threads: 1}
tune:
  stage: teacher
  method: {name: bayes, initial: 4, places: 50}
  trials: 12
  round: 4
  space:
    teacher.train.lr: {real: [0.001, 0.5], log: true}
    teacher.model.hidden: {choice: [[8], [16], [16, 16]]}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# tune EXIT-CODE [--set ...]
tune() {
    want=$1; shift
    "$limbeck" tune "$dir/t.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck tune $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/err" || { fail "nothing says '$1'"; tail -5 "$dir/err"; }; }

# refused before any work: no journal is begun
tune 2 --set tune.trials=0
says "0 is outside\|must be\|at least"
tune 2 --set "tune.space={}"
says "tune.space is empty"
tune 2 --set "tune.space={teacher.train.lr: {real: [0.1, 0.1]}}"
says "is empty"
tune 2 --set "tune.space={teacher.train.lrr: {real: [0.1, 0.2]}}"
says "lrr"
tune 2 --set "tune.space={teacher.model.hiden: {choice: [[4]]}}"
says "hiden"
tune 2 --set "tune.space={student.train.lr: {real: [0.1, 0.2]}}"
says "no key of what is trained"
tune 2 --set "tune.space={split.train: {int: [10, 20]}}"
says "no key of what is trained"
tune 2 --set "tune.space={teacher.train.batch: {int: [0, 20]}}"
says "teacher.train.batch"
tune 2 --set tune.method=bayse
says "did you mean bayes"
tune 2 --set "tune.method={name: nsga2}" --set tune.round=2
says "population of nsga2"
# a grid that is not seen whole is one corner of it
tune 2 --set "tune.method={name: grid, points: 16}" --set tune.trials=12
says "the grid has 48 points, and tune.trials is 12: .* Give it as many trials, or keys fewer values, or method random"
"$limbeck" config check "$dir/t.yaml" --set "tune.method={name: grid, points: 16}" >/dev/null 2>"$dir/err" && fail "config check takes a corner of a grid"
says "the grid has 48 points, and tune.trials is 12"
tune 2 --set tune.stage=techer
says "tune.stage"
tune 2 --set split.validation=0
says "tune.folds of 2 or more"
tune 2 --set tune.folds=100 --set split.train=20 --set split.validation=20
says "folds need as many samples"
[ -e "$dir/first/tune/journal.jsonl" ] && fail "a refused search has begun a journal"
"$limbeck" config check "$dir/t.yaml" >"$dir/out" 2>"$dir/err" || fail "config check says no: $(cat "$dir/err")"
grep -q "tune is sound: bayes over 2 keys, 12 trials" "$dir/out" || fail "config check does not speak of tune"

# a search; the last line is the path of its figures
tune 0
json=$dir/first/tune/tune.json
[ "$(tail -n 1 "$dir/out")" = "$json" ] || fail "the last line is '$(tail -n 1 "$dir/out")'"
[ "$(grep -c '"trial": ' "$json")" = 12 ] || fail "tune.json has other than 12 trials"
grep -E -i 'https?:|<script|<link|src=|@import|url\(' "$dir/first/tune/report.html" && fail "report.html needs something from outside"
grep -q "What matters" "$dir/first/tune/report.html" || fail "report.html does not say what matters"
# best.yaml trains, to the accuracy that the search has seen
"$limbeck" train "$dir/first/tune/best.yaml" --stage teacher --set run="$dir/best" >"$dir/out" 2>"$dir/err" || { fail "best.yaml does not train"; cat "$dir/err"; }
score=$(sed -n 's/^# Best of.*a score of \([0-9.]* %\)\./\1/p' "$dir/first/tune/best.yaml")
grep -q "validation $score (best)" "$dir/err" || fail "the best score was $score, and training best.yaml says otherwise"

# again: nothing is done twice; another configuration is refused; more trials go on
before=$(cksum <"$dir/first/tune/journal.jsonl")
tune 0
[ "$before" = "$(cksum <"$dir/first/tune/journal.jsonl")" ] || fail "a finished search went on"
tune 2 --set tune.seed=2
says "another configuration"
tune 2 --set teacher.train.epochs=2
says "another configuration"
cp -r "$dir/first" "$dir/more"
tune 0 --set run="$dir/more" --set tune.trials=14
[ "$(wc -l <"$dir/more/tune/journal.jsonl")" = 15 ] || fail "14 trials are not 15 lines"
head -13 "$dir/more/tune/journal.jsonl" | cmp - "$dir/first/tune/journal.jsonl" || fail "more trials changed those before"
tune 0 --fresh --set tune.trials=5 --set run="$dir/more"
[ "$(wc -l <"$dir/more/tune/journal.jsonl")" = 6 ] || fail "--fresh has not begun again"

# so is one whose time was over, which is said; more time goes on
grid="--set run=$dir/grid --set tune.folds=1 --set tune.trials=6"
tune 0 $grid --set tune.seconds=0.001 --set "tune.method={name: grid, points: 2}"
grep -q "^4 of 6 trials: tune.seconds are over.* one corner of the grid" "$dir/out" || fail "nothing says that the grid was not seen whole"
grep -q '"budget": 6' "$dir/grid/tune/tune.json" || fail "tune.json does not say how many trials there would be"
grep -q "4 of 6 trials" "$dir/grid/tune/report.html" || fail "report.html does not say how many trials there would be"
tune 0 $grid --set "tune.method={name: grid, points: 2}"
grep -q "tune.seconds" "$dir/out" && fail "a grid that was seen whole is called a corner"
[ "$(grep -c '"trial": ' "$dir/grid/tune/tune.json")" = 6 ] || fail "with more time the grid did not go on"

# the time that an earlier search took is not that of one begun afresh
tune 0 --fresh --set tune.seconds=0.001 --set run="$dir/more"
[ "$(wc -l <"$dir/more/tune/journal.jsonl")" = 5 ] || fail "a search of no time has other than one round"
tune 0 --fresh --set tune.seconds=0.001 --set run="$dir/more"
[ "$(wc -l <"$dir/more/tune/journal.jsonl")" = 5 ] || fail "--fresh counts the time of the search before"

# killed again and again, with a torn line, then to the end: the same
kills=0
seed=99
while [ $kills -lt 8 ]; do
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    "$limbeck" tune "$dir/t.yaml" --set run="$dir/killed" >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    sleep "$(printf '0.%03d' $((50 + seed / 65536 % 400)))"
    kill -9 $pid 2>/dev/null || kills=8 # it was done before we came
    wait $pid 2>/dev/null
    kills=$((kills + 1))
    [ $kills = 3 ] && [ -s "$dir/killed/tune/journal.jsonl" ] && printf '{"trial": 1, "val' >>"$dir/killed/tune/journal.jsonl"
done
tune 0 --set run="$dir/killed"
for file in journal.jsonl tune.json; do
    cmp "$dir/first/tune/$file" "$dir/killed/tune/$file" || fail "killed and resumed, $file differs"
done

# folds, a front by bytes with a family of widths, hopeless and failed trials, a rate that no training survives
tune 0 --set run="$dir/folds" --set tune.folds=3 --set tune.trials=9 --set "tune.method={name: grid, points: 2}"
[ "$(grep -c '"trial": ' "$dir/folds/tune/tune.json")" = 6 ] || fail "a grid of two by three has other than 6 trials"
grep -q '"spread": 0\.' "$dir/folds/tune/tune.json" || fail "folds have no spread"
tune 0 --set run="$dir/pso" --set tune.method=pso --set tune.stop.rule=median --set tune.stop.trials=2 --set tune.trials=16
grep -q '"state": "hopeless"' "$dir/pso/tune/tune.json" || fail "no trial of 16 was hopeless"
# successive halving: fewer epochs first, the best of them again with all; too few epochs for its rungs are refused
halving="--set tune.method=halving --set teacher.train.epochs=4 --set tune.round=4 --set tune.trials=7"
tune 0 --set run="$dir/halving" $halving
[ "$(grep -c '"share": 0.25' "$dir/halving/tune/tune.json")" = 4 ] && [ "$(grep -c '"share": 0.5' "$dir/halving/tune/tune.json")" = 2 ] ||
    fail "the rungs of halving are not 4, 2 and 1"
grep -q '"best": 6,' "$dir/halving/tune/tune.json" || fail "the best is not the one with all epochs"
grep -q '^# Best of 7 trials: trial 6' "$dir/halving/tune/best.yaml" || fail "best.yaml is not the best's"
tune 2 --set run="$dir/refused" $halving --set teacher.train.epochs=3
says "the first rung of halving has 1/4 of the epochs, and there are 3"
tune 0 --set run="$dir/failed" --set tune.method=random --set tune.trials=4 --set "tune.space={teacher.train.lr: {real: [900, 1000]}}" --set teacher.model.hidden=[16,16,16,16] --set teacher.train.epochs=8
grep -q '"state": "failed"' "$dir/failed/tune/tune.json" || fail "a rate of 900 went well"
# what the search before has found is not the answer of one that finds nothing, begun afresh or in an emptied journal; a
# refused one takes nothing away
nothing="--set tune.method=random --set tune.trials=2 --set tune.round=2 --set teacher.model.hidden=[16,16,16,16] --set teacher.model.scale=1000"
for again in --fresh ""; do
    tune 0 --set run="$dir/stale" --set tune.trials=4 --fresh
    tune 2 --set run="$dir/stale" --fresh --set tune.trials=0
    [ -s "$dir/stale/tune/best.yaml" ] || fail "a refused search has removed best.yaml"
    [ -n "$again" ] || rm "$dir/stale/tune/journal.jsonl"
    tune 0 --set run="$dir/stale" $again $nothing --set "tune.space={teacher.train.lr: {real: [990, 1000]}}"
    grep -q '"best": null' "$dir/stale/tune/tune.json" || fail "a rate of 1,000 went well"
    [ -e "$dir/stale/tune/best.yaml" ] && fail "best.yaml is of another search"
done
# a student with a teacher: which must be there, and be the same one
student="--set tune.stage=student --set run=$dir/taught --set tune.trials=3 --set tune.method=random --set tune.round=3"
mlp="{name: mlp, hidden: [6], mean: 120, scale: 0.015}"
space="{student.distill.temperature: {real: [1, 5]}, student.train.lr: {real: [0.01, 0.3], log: true}}"
tune 1 $student --set "student.model=$mlp" --set student.train.epochs=2 --set student.distill.alpha=0.5 --set "tune.space=$space"
says "there is no teacher"
"$limbeck" train "$dir/t.yaml" --stage teacher --set run="$dir/taught" >"$dir/out" 2>"$dir/err" || fail "the teacher does not train"
tune 0 $student --set "student.model=$mlp" --set student.train.epochs=2 --set student.distill.alpha=0.5 --set "tune.space=$space"
"$limbeck" train "$dir/t.yaml" --stage teacher --set run="$dir/taught" --fresh --set teacher.train.epochs=1 >"$dir/out" 2>"$dir/err"
tune 2 $student --set "student.model=$mlp" --set student.train.epochs=2 --set student.distill.alpha=0.5 --set "tune.space=$space"
says "another configuration"
tune 2 $student --fresh --set "student.model=$mlp" --set student.train.epochs=2 --set student.distill.alpha=0.5 --set student.distill.teacher=self --set "tune.space={student.train.lr: {real: [0.01, 0.3]}}"
says "a trial is one training"
cat >"$dir/family.yaml" <<Y
run: $dir/family
data: {name: synthetic, train: 200, test: 50, height: 8, width: 8, classes: 4}
split: {train: 120, validation: 80, seed: 1}
model:
  name: layers
  mean: 120
  scale: 0.015
  layers: [{conv: {channels: 4, kernel: 3}}, {pool: global}, dense]
train: {epochs: 1, batch: 32, lr: 0.1, threads: 1}
tune:
  method: nsga2
  cost: bytes
  trials: 8
  round: 4
  space: {model.layers.0.conv.channels: {int: [4, 16], step: 4}, model.layers.0.conv.kernel: {choice: [1, 3]}}
Y
cp "$dir/family.yaml" "$dir/t.yaml"
tune 0
grep -q '"front": true' "$dir/family/tune/tune.json" || fail "there is no front"
grep -q '"cost": [0-9]' "$dir/family/tune/tune.json" || fail "there is no cost"
[ $bad = 0 ] && echo "search, resuming and refusals as expected"
exit $bad
