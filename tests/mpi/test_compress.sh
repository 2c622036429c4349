#!/bin/sh
# `limbeck compress` with candidates, of fewer channels and bits, on 1, 2 and 3 ranks, which share candidates, moves that are tried
# and (2, not 3) the last trainings: with a frozen latency table the same points, front and model to the byte, also when it is
# stopped on two ranks, killed there, in the last training too, and goes on on one.
limbeck=$1
dir=$2/compress
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/c.yaml" <<Y
run: $dir/first
data: {name: synthetic, train: 1200, test: 200, height: 12, width: 12, classes: 4}
split: {train: 800, validation: 300, seed: 1}
teacher:
  model: {name: resnet, depth: 8, width: 8, mean: 120, scale: 0.015}
  train: {epochs: 3, batch: 64, lr: 0.1, threads: 1}
compress:
  teacher: $dir/first/teacher/model.onnx
  objective: bytes  # what is measured here differs from machine to machine; that a step has several candidates must not
  accuracy_drop_max: "15 %"
  step: 0.05
  step_min: 0.02
  steps: 3
  candidates: 3
  tile: 1
  bits_min: 4       # weights that are rounded while they learn, on any rank
  batches: 4
  samples: 400
  calibration: 64
  tune: {epochs: 4, batch: 32, lr: 0.02, clip: 1, threads: 1}
  recover: {epochs: 4, batch: 64, lr: 0.02, threads: 1, augment: {flip: true, versions: 2}}
  finish: {epochs: 1, batch: 64, lr: 0.002, clip: 1, threads: 1}
  prove: true
Y
fail() { echo "FAILED: $*"; cat "$dir/err"; exit 1; }
# compress RUN RANKS
compress() {
    run=$dir/$1; n=$2; shift 2
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" compress "$dir/c.yaml" --set "run=$run" "$@" >"$dir/out" 2>"$dir/err"
}
frozen="--set compress.table.frozen=true --set compress.table.file=$dir/first/compress/latency.jsonl"
same() {
    for file in front.json journal.jsonl model.lmb; do
        cmp "$dir/r1/compress/$file" "$dir/$1/compress/$file" || fail "$1: $file differs"
    done
}

"$limbeck" train "$dir/c.yaml" --stage teacher >/dev/null 2>"$dir/err" || fail "no teacher"
compress first 1 || fail "the first search"
compress r1 1 $frozen || fail "one rank"
[ "$(grep -c . "$dir/r1/compress/journal.jsonl")" -lt "$(grep -c '"point": ' "$dir/r1/compress/front.json")" ] || fail "no step has several candidates"
grep -q '"kind": "bits"' "$dir/r1/compress/journal.jsonl" || fail "no step takes bits away"
for ranks in 2 3; do
    compress r$ranks $ranks $frozen || fail "$ranks ranks"
    same r$ranks
done

# stopped: exit code 3; killed; and on to the end on one rank
: >"$dir/err"
mpirun -n 2 --oversubscribe --bind-to none "$limbeck" compress "$dir/c.yaml" --set run="$dir/stopped" $frozen --set compress.tune.epochs=9000 >"$dir/out" 2>"$dir/err" &
pid=$!
i=0
until grep -q '^point 0 ' "$dir/err" || [ $i -ge 1200 ]; do sleep 0.1; i=$((i + 1)); done
kill -USR1 $pid
wait $pid
got=$?
[ $got = 3 ] || fail "stopped by a signal, exit $got, want 3"
grep -q "goes on from the last decision" "$dir/err" || fail "nobody says that it goes on"
for ms in 300 500 700 900; do
    mpirun -n 2 --oversubscribe --bind-to none "$limbeck" compress "$dir/c.yaml" --set run="$dir/killed" $frozen >"$dir/out" 2>"$dir/err" &
    pid=$!
    sleep 0.$ms
    for child in $(cat /proc/$pid/task/*/children 2>/dev/null); do kill -9 "$child" 2>/dev/null; done
    kill -9 $pid 2>/dev/null # which may wait for ever for a rank that died while it joined
    wait $pid 2>/dev/null
done
compress killed 1 $frozen || fail "killed on two ranks, it does not go on on one"
same killed

# killed on two ranks while they share the last training, whose first epochs are kept; on one it goes on with these
mkdir -p "$dir/recovers" && cp -r "$dir/killed/compress" "$dir/recovers" || exit 1
grep -v '"kind": "finished"' "$dir/r1/compress/journal.jsonl" >"$dir/recovers/compress/journal.jsonl"
mpirun -n 2 --oversubscribe --bind-to none "$limbeck" compress "$dir/c.yaml" --set run="$dir/recovers" $frozen >"$dir/out" 2>"$dir/err" &
pid=$!
i=0
until ls "$dir"/recovers/compress/recover-*.h5 >/dev/null 2>&1 || [ $i -ge 600 ]; do sleep 0.01; i=$((i + 1)); done
for child in $(cat /proc/$pid/task/*/children 2>/dev/null); do kill -9 "$child" 2>/dev/null; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
[ $i -lt 600 ] || fail "the last training was not kept"
compress recovers 1 $frozen || fail "killed in its last training on two ranks, it does not go on on one"
same recovers
echo "the same points on 1, 2 and 3 ranks"
