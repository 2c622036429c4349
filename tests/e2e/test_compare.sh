#!/bin/sh
# `limbeck compare` on tiny data: a recipe that is plainly better is called so, one that is the same is not; folds; three recipes;
# killed and resumed, the figures are the same; what can not be compared is refused.
limbeck=$1
dir=$2/compare
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/good.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 200, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, seed: 1}
model: {name: mlp, hidden: [24], mean: 120, scale: 0.015}
train: {epochs: 4, batch: 32, lr: 0.1, threads: 1}
Y
sed 's/lr: 0.1/lr: 0.0003/' "$dir/good.yaml" >"$dir/poor.yaml"
cp "$dir/good.yaml" "$dir/twin.yaml"
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# compare EXIT-CODE WORDS...
compare() {
    want=$1; shift
    "$limbeck" compare "$@" --out "$dir/out" >"$dir/said" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck compare $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/said" "$dir/err" || { fail "nothing says '$1'"; cat "$dir/said"; tail -5 "$dir/err"; }; }

compare 2 "$dir/good.yaml"
says "give 2 to 8"
compare 2 "$dir/good.yaml" "$dir/poor.yaml" --seeds 1
says "says nothing about chance"
compare 2 "$dir/good.yaml" "$dir/poor.yaml" --seeds 1,x
says "a list of at most"
compare 2 "$dir/good.yaml" "$dir/poor.yaml" --seeds 1,1
says "twice"
compare 2 "$dir/good.yaml" "$dir/poor.yaml" --stage data
says "teacher or student"
sed 's/validation: 100/validation: 50/' "$dir/good.yaml" >"$dir/other.yaml"
compare 2 "$dir/good.yaml" "$dir/other.yaml"
says "must have the same samples"
sed 's/lr: 0.1/rl: 0.1/' "$dir/good.yaml" >"$dir/other.yaml"
compare 2 "$dir/good.yaml" "$dir/other.yaml"
says "there is no key 'rl' here"
compare 2 "$dir/good.yaml" "$dir/poor.yaml" --unpaired --folds 3
says "those of --folds 3 share samples, .* leave out --unpaired, or --folds"
[ -e "$dir/out/journal.jsonl" ] && fail "a refused comparison has begun a journal"

compare 0 "$dir/poor.yaml" "$dir/good.yaml" --seeds 1,2,3
says "good.yaml is better than .*poor.yaml by .* points (95 % interval .*paired t-test.*over 3 seeds"
says "on the same samples: only the first is right on"
[ "$(tail -n 1 "$dir/said")" = "$dir/out/compare.json" ] || fail "the last line is not the path"
grep -E -i 'https?:|<script|<link|src=|@import|url\(' "$dir/out/report.html" && fail "report.html needs something from outside"
cp "$dir/out/compare.json" "$dir/whole.json"
before=$(cksum <"$dir/out/journal.jsonl")
compare 0 "$dir/poor.yaml" "$dir/good.yaml" --seeds 1,2,3
[ "$before" = "$(cksum <"$dir/out/journal.jsonl")" ] || fail "a finished comparison went on"
compare 2 "$dir/poor.yaml" "$dir/good.yaml" --seeds 1,2
says "another comparison"
# cut off after two trainings, in the middle of a line
head -c $(( $(head -3 "$dir/out/journal.jsonl" | wc -c) + 20 )) "$dir/out/journal.jsonl" >"$dir/cut" && mv "$dir/cut" "$dir/out/journal.jsonl"
compare 0 "$dir/poor.yaml" "$dir/good.yaml" --seeds 1,2,3
cmp "$dir/whole.json" "$dir/out/compare.json" || fail "resumed, the figures differ"

compare 0 "$dir/good.yaml" "$dir/twin.yaml" --seeds 1,2 --fresh --set train.batch=25 --set train.schedule.name=cosine
says "no difference is shown"
# the report has the recipes as they were trained: with --set, and with what nobody named
for line in "batch: 25" "name: cosine" "label_smoothing: 0"; do
    [ "$(grep -c "^ *$line" "$dir/out/report.html")" -ge 2 ] || fail "the report does not say '$line' of both recipes"
done
compare 0 "$dir/good.yaml" "$dir/poor.yaml" "$dir/twin.yaml" --seeds 1,2 --folds 3 --fresh
says "the recipes are not all alike (repeated measures"
says "3 folds, whose common samples are allowed for"
grep -q '"only_first_right": ' "$dir/out/compare.json" || fail "compare.json has no answers"
compare 0 "$dir/good.yaml" "$dir/poor.yaml" --seeds 1,2,3 --unpaired --fresh
says "one-way analysis of variance"

# students: another teacher is another comparison, and one that would teach itself is refused
mlp="mean: 120, scale: 0.015"
cat >"$dir/a.yaml" <<Y
run: $dir/taught
data: {name: synthetic, train: 200, test: 50, height: 8, width: 8, classes: 4}
split: {train: 120, validation: 80, seed: 1}
teacher: {model: {name: mlp, hidden: [16], $mlp}, train: {epochs: 2, batch: 32, lr: 0.1, threads: 1}}
student: {model: {name: mlp, hidden: [4], $mlp}, train: {epochs: 1, batch: 32, lr: 0.1, threads: 1}, distill: {alpha: 0.5}}
Y
sed 's/hidden: \[4\]/hidden: [8]/' "$dir/a.yaml" >"$dir/b.yaml"
compare 1 "$dir/a.yaml" "$dir/b.yaml" --stage student --seeds 1,2 --fresh
says "there is no teacher"
"$limbeck" train "$dir/a.yaml" --stage teacher >"$dir/said" 2>"$dir/err" || fail "the teacher does not train"
compare 0 "$dir/a.yaml" "$dir/b.yaml" --stage student --seeds 1,2 --fresh
"$limbeck" train "$dir/a.yaml" --stage teacher --fresh --set teacher.train.epochs=1 >"$dir/said" 2>"$dir/err"
compare 2 "$dir/a.yaml" "$dir/b.yaml" --stage student --seeds 1,2
says "another comparison"
compare 2 "$dir/a.yaml" "$dir/b.yaml" --stage student --seeds 1,2 --fresh --set student.distill.teacher=self
says "a trial is one training"
[ $bad = 0 ] && echo "verdicts, resuming and refusals as expected"
exit $bad
