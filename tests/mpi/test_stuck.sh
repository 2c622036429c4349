#!/bin/sh
# A rank that hangs, and one that is killed, are named with what they were doing, and the job ends with code 75: whether the
# others wait for it in shared memory, for a message, or for what comes through a pipeline.
limbeck=$1
dir=$2/stuck
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 20000, test: 100, height: 16, width: 16, classes: 4}
model: {name: vgg, channels: [8, 0, 12]}
train: {epochs: 100, batch: 128, threads: 1, stall_s: 2}
Y
# rank N: its process.
rank() {
    pgrep -f "$limbeck train $dir/run.yaml" | while read -r p; do
        tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$p"; done | head -1
}
# stuck SIGNAL WORDS [late]: send the signal to rank 1, expect a sentence with WORDS and a non-zero exit. late: when it has
# done its part and waits for rank 0.
stuck() {
    rm -f "$dir/run/model/ranks"
    mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh --set "train.$way" >"$dir/log" 2>&1 &
    job=$!
    i=0
    while [ ! -s "$dir/run/model/ranks" ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i + 1)); done
    sleep 2
    victim=$(rank 1)
    [ -n "$victim" ] || { echo "FAILED: rank 1 not found"; cat "$dir/log"; kill $job; exit 1; }
    [ "${3-}" != late ] || { first=$(rank 0); kill -STOP "$first"; sleep 1; }
    kill -"$1" "$victim"
    [ "${3-}" != late ] || kill -CONT "$first"
    rm -f "$dir/late"
    ( sleep 30; touch "$dir/late"; kill -9 $job ) >/dev/null 2>&1 & guard=$!
    wait $job; code=$?
    kill $guard 2>/dev/null
    kill -CONT "$victim" 2>/dev/null; kill -9 "$victim" 2>/dev/null
    [ $code -ne 0 ] && [ ! -e "$dir/late" ] || { echo "FAILED: exit code $code after $1"; cat "$dir/log"; exit 1; }
    grep -q "rank 1 .*$2.*it was doing" "$dir/log" || { echo "FAILED: after $1 no sentence names rank 1"; cat "$dir/log"; exit 1; }
    grep "rank 1 " "$dir/log" | head -1
}
for way in reduce=window reduce=messages "pipeline={stages: 2, microbatches: 4}"; do
    stuck STOP "does not answer"
    stuck STOP "does not answer" late
    stuck KILL "is gone"
done
