#!/bin/sh
# kill -9 in every single call that changes a file (kill_at.c): writes half done, not yet synced, not yet renamed. Each
# time the next start goes on and ends in the bits of an undisturbed run, with nothing left over.
limbeck=$1 dir=$2/every_write shim=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 200, test: 20, height: 8, width: 8, classes: 3}
split: {validation: 20}
model: {name: vgg, channels: [4], dropout: 0.1}
train: {epochs: 2, batch: 64, threads: 1, ema: 0.9, optimizer: adam, lr: 0.01, checkpoint_s: 0}
Y
files() { (cd "$dir/run/model" && cksum model.onnx; sed 's/"images_per_second.*//; s/"seconds.*//' history.jsonl | cksum; ls | sed "s/^events.*/events/" | uniq); }
"$limbeck" train "$dir/run.yaml" >"$dir/out" 2>"$dir/err" || { echo "FAILED: the undisturbed run"; cat "$dir/err"; exit 1; }
whole=$(files)
bad=0 n=0 code=137
while [ $code -eq 137 ] && [ $n -lt 300 ]; do # how many calls there are depends a little on the clock
    n=$((n + 1))
    rm -rf "$dir/run"
    KILL_AT=$n LD_PRELOAD=$shim "$limbeck" train "$dir/run.yaml" >"$dir/out" 2>"$dir/err"; code=$?
    "$limbeck" train "$dir/run.yaml" >"$dir/out" 2>"$dir/err" || { echo "FAILED: killed in call $n, it does not go on: $(cat "$dir/err")"; bad=1; }
    [ "$(files)" = "$whole" ] || { echo "FAILED: killed in call $n, the end is another: $(files)"; bad=1; }
done
[ $code -eq 0 ] || { echo "FAILED: call $n: exit code $code"; bad=1; }
[ $n -gt 20 ] || { echo "FAILED: only $n calls were seen: is the test blind?"; bad=1; }
echo "killed in each of $((n - 1)) calls"
exit $bad
