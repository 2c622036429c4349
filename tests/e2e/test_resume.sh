#!/bin/sh
# Killed (kill -9) at 50 random instants, among them the middle of checkpoints, and started again each time, a run
# ends in the bits of an undisturbed one.
limbeck=$1
dir=$2/resume
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<Y
run: $dir/RUN
data: {name: synthetic, train: 1500, test: 50, height: 10, width: 10, classes: 4}
split: {validation: 60}
model: {name: vgg, channels: [8, 0, 12], dropout: 0.1}
train: {epochs: 40, batch: 64, threads: 1, lr: 0.05, ema: 0.9, optimizer: adam, checkpoint_s: 0.01, augment: {crop: 1, flip: true, policy: autoaugment}}
Y
sed "s/RUN/whole/" "$dir/run.yaml" >"$dir/whole.yaml"
sed "s/RUN/killed/" "$dir/run.yaml" >"$dir/killed.yaml"

start=$(date +%s%N)
whole=$("$limbeck" train "$dir/whole.yaml" 2>/dev/null | sed -n 's/^weights //p')
took=$(( ($(date +%s%N) - start) / 1000000 ))
[ -n "$whole" ] || { echo "FAILED: the undisturbed run printed no weights"; exit 1; }

# same: the killed run has ended, and in the same weights.
same() {
    killed=$("$limbeck" train "$dir/killed.yaml" 2>"$dir/err" | sed -n 's/^weights //p')
    [ "$killed" = "$whole" ] || { echo "FAILED: after $kills kills the weights are '$killed', undisturbed '$whole'"; cat "$dir/err"; exit 1; }
}
seed=12345
kills=0
while [ $kills -lt 50 ]; do
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    "$limbeck" train "$dir/killed.yaml" >"$dir/out" 2>"$dir/err" &
    pid=$!
    ms=$(( 30 + seed / 65536 % (took / 20 + 60) ))
    sleep "$(printf '0.%03d' $((ms % 1000)))"
    if kill -9 $pid 2>/dev/null; then
        kills=$((kills + 1))
    else # it was done before we came: from the beginning
        same
        rm -rf "$dir/killed"
    fi
    wait $pid 2>/dev/null
done
same
lines=$(wc -l <"$dir/killed/model/history.jsonl")
[ "$lines" = 40 ] || { echo "FAILED: the history has $lines lines for 40 epochs"; exit 1; }
points=$(cat "$dir"/killed/model/events.out.tfevents.* | grep -ao train/loss | wc -l)
[ "$points" = 40 ] || { echo "FAILED: the curve of the loss has $points points for 40 epochs"; exit 1; }
ls "$dir/killed/model"/*.tmp 2>/dev/null && { echo "FAILED: temporaries are left"; exit 1; }
echo "$kills kills, the same weights: $whole"
