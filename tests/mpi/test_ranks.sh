#!/bin/sh
# Deterministic mode: 1, 2 and 4 ranks and any number of threads end in the same bits; fast mode repeats itself.
# Sums made while the backward pass runs (small buckets here) are the sums made at its end, to the bit.
# Ranks that are given different settings are told so; a rank that dies ends the job.
. "$(dirname "$0")/ranks.sh"
begin ranks "$1" "$2"
cat >"$dir/run.yaml" <<'Y'
run: RUN
data: {name: synthetic, train: 420, test: 100, height: 8, width: 8, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12], dropout: 0.1}
train: {epochs: 2, batch: 128, threads: 1, lr: 0.05, ema: 0.9, augment: {crop: 1, flip: true, policy: trivial}}
Y
sed -i "s|RUN|$dir/run|" "$dir/run.yaml"

one=$(weights 1 --fresh)
[ -n "$one" ] || fail "one rank printed no weights"
for n in 2 4; do
    [ "$(weights $n --fresh)" = "$one" ] || fail "$n ranks end in other bits than one"
done
[ "$(weights 2 --fresh --set train.threads=2)" = "$one" ] || fail "2 ranks of 2 threads end in other bits"
[ "$(weights 1 --fresh --set train.shard=16)" != "$one" ] || fail "other shards should give other bits: is the test blind?"

for n in 1 2 4; do
    for kb in 0 1; do
        [ "$(weights $n --fresh --set train.bucket_kb=$kb)" = "$one" ] || fail "$n ranks end in other bits with train.bucket_kb=$kb"
    done
done

for n in 2 4; do
    for way in window messages; do
        [ "$(weights $n --fresh --set train.reduce=$way)" = "$one" ] || fail "$n ranks end in other bits with train.reduce=$way"
        [ "$(weights $n --fresh --set train.reduce=$way --set train.bucket_kb=1)" = "$one" ] || fail "$n ranks, small buckets: other bits with $way"
    done
done

wide="model={name: mlp, hidden: [300, 300]}" # gradients that shards leave as what they are products of
full=$(weights 1 --fresh --set "$wide")
[ -n "$full" ] || fail "no weights of full layers"
for n in 2 4; do
    for kb in 0 1 256; do
        [ "$(weights $n --fresh --set "$wide" --set train.bucket_kb=$kb)" = "$full" ] || fail "full layers: $n ranks end in other bits than one"
    done
done
[ "$(weights 2 --fresh --set "$wide" --set train.reduce=messages)" = "$full" ] || fail "full layers: 2 ranks end in other bits with messages"

rm -rf "$dir/cache" # kernels that rank 0 measures, or finds in its cache, are those of all ranks
cached=$(weights 2 --fresh --plan-cache "$dir/cache")
[ -n "$cached" ] || fail "no weights with a plan cache"
ls "$dir"/cache/kernels-*.txt >/dev/null || fail "no kernels in the plan cache"
for n in 1 2 4; do
    [ "$(weights $n --fresh --plan-cache "$dir/cache")" = "$cached" ] || fail "$n ranks end in other bits with one plan cache"
done

a=$(weights 2 --fresh --set train.mode=fast)
b=$(weights 2 --fresh --set train.mode=fast)
[ -n "$a" ] && [ "$a" = "$b" ] || fail "fast mode does not repeat itself"
three=$(weights 3 --fresh --set train.mode=fast --set train.bucket_kb=1) # 140 samples a rank and no power of two
[ -n "$three" ] && [ "$three" = "$(weights 3 --fresh --set train.mode=fast --set train.bucket_kb=0)" ] || fail "3 ranks: overlap changes bits"
[ "$three" = "$(weights 3 --fresh --set train.mode=fast --set train.reduce=messages)" ] || fail "3 ranks: the window changes bits"

half=$(weights 1 --fresh --set train.precision=bf16)
if [ -n "$half" ]; then
    [ "$half" != "$one" ] || fail "bf16 should give other bits: is the test blind?"
    for n in 2 4; do
        [ "$(weights $n --fresh --set train.precision=bf16 --set train.threads=2)" = "$half" ] || fail "$n ranks end in other bits than one with bf16"
    done
else
    grep -q "train.precision=f32" "$dir/log.1" || fail "bf16 fails without its sentence"
fi

if mpirun -n 3 --oversubscribe "$limbeck" train "$dir/run.yaml" --fresh >"$dir/log.3" 2>&1; then fail "3 ranks in deterministic mode were accepted"; fi
grep -q "needs 1, 2, 4" "$dir/log.3" || fail "3 ranks: no sentence"

if mpirun -n 1 "$limbeck" train "$dir/run.yaml" --fresh --set model.channels=[8] : \
          -n 1 "$limbeck" train "$dir/run.yaml" --fresh >"$dir/log.d" 2>&1; then fail "ranks with different models were accepted"; fi
grep -q "rank 1 has another configuration than rank 0" "$dir/log.d" || fail "different configurations: no sentence"
echo "ranks agree: $one"
