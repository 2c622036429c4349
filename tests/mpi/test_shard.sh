#!/bin/sh
# train.shard_optimizer: whatever the optimizer, and on any number of ranks, the same weights as without it, bit for bit; a
# checkpoint of 2 ranks goes on with 4, with 1, and in parts that 3 ranks keep.
. "$(dirname "$0")/ranks.sh"
begin shard "$1" "$2"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12], dropout: 0.1}
train: {epochs: 2, batch: 128, threads: 1, lr: 0.01, ema: 0.9, clip: 0.05, augment: {crop: 1, flip: true}}
Y

sharded="--set train.shard_optimizer=true"
for o in $("$limbeck" list optimizers | awk '/^[a-z]/ { print $1 }'); do
    one=$(weights 1 --fresh --set "train.optimizer=$o")
    [ -n "$one" ] || fail "one rank printed no weights with $o"
    for n in 1 2 4; do
        [ "$(weights $n --fresh --set "train.optimizer=$o" $sharded)" = "$one" ] || fail "$n ranks that share $o end in other bits than one"
    done
    seen="$seen $o"
done
case $seen in *sgd*adam*|*adam*sgd*) ;; *) fail "which optimizers are there? seen:$seen" ;; esac

# Two passes a step: ranks climb by the norm of the whole batch, and every rank sees the weights uphill.
sam="--set train.sam.rho=0.1 --set train.sam.adaptive=true"
uphill=$(weights 1 --fresh $sam)
[ -n "$uphill" ] && [ "$uphill" != "$(weights 1 --fresh)" ] || fail "train.sam changes nothing"
for n in 2 4; do
    [ "$(weights $n --fresh $sam)" = "$uphill" ] || fail "$n ranks end in other bits than one with train.sam"
    [ "$(weights $n --fresh $sam $sharded)" = "$uphill" ] || fail "$n ranks that share an optimizer: other bits with train.sam"
done

# Pieces (train.minutes): several ranks end each with an epoch, another number of them goes on, and the last one is no piece.
pieces="$sam $sharded --set train.loss_scale=64 --set train.minutes=0.000001"
rm -rf "$dir/run"
[ -z "$(weights 2 --fresh $pieces)" ] || fail "a piece of two ranks prints weights"
grep -q "minutes are over (train.minutes); the same command goes on from here" "$dir/log.2" || fail "no sentence about the time"
[ "$(wc -l <"$dir/run/model/history.jsonl")" -eq 1 ] || fail "a piece of two ranks is not an epoch"
[ "$(weights 4 $pieces)" = "$uphill" ] || fail "four ranks that go on with a piece of two end in other bits, or not at all"

adam="--set train.optimizer=adam"
one=$(weights 1 --fresh $adam)
[ "$(weights 1 --fresh $adam --set train.clip=0)" != "$one" ] || fail "nothing is clipped: is the test blind?"
[ "$(weights 4 --fresh $adam $sharded --set train.bucket_kb=1)" = "$one" ] || fail "small buckets change bits"
[ "$(weights 4 --fresh $adam $sharded --set train.threads=2)" = "$one" ] || fail "threads change bits"
grep -q "rank 0 of 4 keeps" "$dir/log.4" || fail "how much a rank keeps is not said"
wide="model={name: mlp, hidden: [300, 300]}" # gradients that shards leave as what they are products of
[ "$(weights 4 --fresh $adam $sharded --set "$wide")" = "$(weights 1 --fresh $adam --set "$wide")" ] || fail "full layers: other bits"
[ "$(weights 3 --fresh $adam $sharded --set train.mode=fast)" = "$(weights 3 --fresh $adam --set train.mode=fast)" ] ||
    fail "3 ranks: other bits"
if weights 2 --fresh $sharded --set train.reduce=window >"$dir/out" && [ -s "$dir/out" ]; then fail "shared memory was accepted"; fi
grep -q "parts of sums go by messages" "$dir/log.2" || fail "shared memory: no sentence"

# A checkpoint as a kill would leave it, from whichever step it is, goes on with another number of ranks.
often="$adam $sharded --set train.epochs=6 --set train.checkpoint_s=0"
long=$(weights 1 --fresh $often)
keep 2 --fresh $often
[ "$(cat "$dir/out")" = "$long" ] || fail "saving often changes bits"
for n in 4 1 3; do
    if [ $n = 3 ]; then # no power of two: needs the other mode, and says so
        go_on 3 $often >"$dir/out"
        grep -q "needs 1, 2, 4" "$dir/log.3" || fail "3 ranks: no sentence"
    else
        [ "$(go_on $n $often)" = "$long" ] || fail "2 ranks' checkpoint ends in other bits with $n"
    fi
done
echo "shared optimizers agree:$seen"
