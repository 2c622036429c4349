#!/bin/sh
# A long training in pieces: train.minutes ends each with exit code 3 after a step, and the same command ends in the
# bits of one that was never stopped, with the two passes of train.sam and a kill -9 between; a piece of another
# length goes on as well. A training that is to reach an accuracy ends when it does and says when that was; before
# train.validate_from nothing is validated.
limbeck=$1
dir=$2/pieces
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $*"; cat "$dir/err"; exit 1; }
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 400, test: 50, height: 8, width: 8, classes: 4, noise: 0.3}
split: {validation: 80}
model: {name: vgg, channels: [8, 0, 12], dropout: 0.1}
train: {epochs: 2, batch: 32, threads: 1, lr: 0.05, ema: 0.9, checkpoint_s: 0, sam: {rho: 0.1}, augment: {flip: true}}
Y
# train OPTION...: leaves the exit code in $code and the weights' hash in $weights
train() {
    "$limbeck" train "$dir/run.yaml" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    weights=$(sed -n 's/^weights //p' "$dir/out")
}

train --set "run=$dir/whole"
whole=$weights
[ $code -eq 0 ] && [ -n "$whole" ] || fail "the undisturbed run ends with $code"

# the shortest piece is a step that is looked at, which happens ten times a second and at the end of an epoch
train --set train.minutes=0.000001
[ $code -eq 3 ] || fail "a piece ends with exit code $code"
grep -q "minutes are over (train.minutes); the same command goes on from here" "$dir/err" ||
    fail "no sentence about the time"
[ -z "$weights" ] || fail "a piece prints weights"
"$limbeck" train "$dir/run.yaml" >"$dir/out" 2>"$dir/err" & pid=$!
until grep -q "going on" "$dir/err"; do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
pieces=1
code=3
while [ $code -eq 3 ]; do
    train --set train.minutes=0.00000$((pieces % 5 + 1))
    pieces=$((pieces + 1))
    [ $pieces -lt 200 ] || fail "no end after $pieces pieces"
done
[ $code -eq 0 ] || fail "the last piece ends with exit code $code"
[ "$weights" = "$whole" ] || fail "$pieces pieces end in '$weights', undisturbed '$whole'"

# ---- pieces that end with an epoch: of one batch, which is always looked at
one="--set train.batch=320 --set train.minutes=0.000001"
train --fresh $one
[ $code -eq 3 ] || fail "an epoch is a piece: exit code $code"
awk -F'"seconds": ' '{ good = NF == 2 && $2 + 0 > 0 } END { exit !good }' "$dir/run/model/history.jsonl" ||
    fail "an epoch that ends a piece took no time: $(cat "$dir/run/model/history.jsonl")"
train $one
[ $code -eq 0 ] && [ -n "$weights" ] || fail "after the last epoch nothing is left for another piece: exit code $code"

# ---- as soon as it is good enough
train --fresh --set train.epochs=50 --set train.sam.rho=0 --set train.validate_from=3 --set train.target_accuracy=0.5
[ $code -eq 0 ] || fail "a target ends with exit code $code"
grep -q "validation has reached 50.00 % (train.target_accuracy) [0-9.]* s after the start" "$dir/err" ||
    fail "no sentence about the target"
history=$dir/run/model/history.jsonl
epochs=$(wc -l <"$history")
[ "$epochs" -ge 3 ] && [ "$epochs" -lt 50 ] || fail "it ended after $epochs epochs"
[ "$(head -2 "$history" | grep -c '"valid_accuracy": *[0-9]')" -eq 0 ] || fail "validated too early"
[ "$(sed -n 3p "$history" | grep -c '"valid_accuracy": *[0-9]')" -eq 1 ] || fail "not validated"
train --set train.epochs=50 --set train.sam.rho=0 --set train.validate_from=3 --set train.target_accuracy=0.5
[ $code -eq 0 ] && grep -q "are done already" "$dir/err" || fail "a target that was reached is not the end"
train --fresh --set split.validation=0 --set train.target_accuracy=0.5
[ $code -eq 2 ] && grep -q "nothing says when it is reached" "$dir/err" || fail "a target without validation"
echo "$pieces pieces, the same weights: $whole"
