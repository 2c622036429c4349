#!/bin/sh
# `limbeck tune` on 1, 2 and 3 ranks: the same journal and the same answer, to the byte, also with folds, hopeless trials and a
# cost; `limbeck compare` as well.
limbeck=$1
dir=$2/tune
command -v mpirun >/dev/null 2>&1 || { echo "skipped: there is no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/t.yaml" <<Y
run: $dir/one
data: {name: synthetic, train: 300, test: 60, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, seed: 1}
model: {name: mlp, hidden: [8], mean: 120, scale: 0.015}
train: {epochs: 3, batch: 32, lr: 0.1, threads: 1}
tune:
  method: random
  cost: macs
  folds: 2
  trials: 14
  round: 5
  stop: {rule: median, trials: 2}
  space:
    train.lr: {real: [0.0001, 0.5], log: true}
    model.hidden: {choice: [[4], [8], [12, 8]]}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
for method in "{name: bayes, initial: 5, places: 50}" random; do
    rm -rf "$dir/one"
    "$limbeck" tune "$dir/t.yaml" --set "tune.method=$method" >"$dir/out" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
    for n in 2 3; do
        rm -rf "${dir:?}/$n"
        mpirun --oversubscribe -n $n "$limbeck" tune "$dir/t.yaml" --set "tune.method=$method" --set run="$dir/$n" >"$dir/out" 2>"$dir/err" </dev/null ||
            { fail "$n ranks"; cat "$dir/err"; }
        for file in journal.jsonl tune.json; do
            cmp "$dir/one/tune/$file" "$dir/$n/tune/$file" || fail "on $n ranks $file differs"
        done
    done
done
grep -q '"state": "hopeless"' "$dir/one/tune/tune.json" || fail "no trial was hopeless"
# one rank goes on with what three have begun
mpirun --oversubscribe -n 3 "$limbeck" tune "$dir/t.yaml" --set run="$dir/mixed" --set tune.trials=7 >"$dir/out" 2>"$dir/err" </dev/null || fail "7 trials on 3 ranks"
"$limbeck" tune "$dir/t.yaml" --set run="$dir/mixed" >"$dir/out" 2>"$dir/err" || fail "one rank does not go on"
cmp "$dir/one/tune/journal.jsonl" "$dir/mixed/tune/journal.jsonl" || fail "3 ranks and then 1: the journal differs"
# recipes compared on ranks: the same figures and the same sentence
sed 's/lr: 0.1/lr: 0.03/' "$dir/t.yaml" >"$dir/u.yaml"
"$limbeck" compare "$dir/t.yaml" "$dir/u.yaml" --seeds 1,2 --folds 2 --out "$dir/alone" >"$dir/out" 2>"$dir/err" || { fail "compare"; cat "$dir/err"; }
mpirun --oversubscribe -n 3 "$limbeck" compare "$dir/t.yaml" "$dir/u.yaml" --seeds 1,2 --folds 2 --out "$dir/three" >"$dir/out3" 2>"$dir/err" </dev/null ||
    { fail "compare on 3 ranks"; cat "$dir/err"; }
cmp "$dir/alone/compare.json" "$dir/three/compare.json" || fail "on 3 ranks compare.json differs"
[ "$(head -1 "$dir/out")" = "$(head -1 "$dir/out3")" ] || fail "on 3 ranks the answer is another"
[ $bad = 0 ] && echo "1, 2 and 3 ranks decide alike"
exit $bad
