#!/bin/sh
# A rank that hangs, and one that is killed, are named with what they were doing, and the job ends with code 75, or with
# mpirun's 137 of the kill: whether the others wait for it in shared memory, for a message, or for what comes through a
# pipeline.
. "$(dirname "$0")/ranks.sh"
begin stuck "$1" "$2"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 20000, test: 100, height: 16, width: 16, classes: 4}
model: {name: vgg, channels: [8, 0, 12]}
train: {epochs: 100, batch: 128, threads: 1, stall_s: 2}
Y
# stuck SIGNAL WORDS [late]: send the signal to rank 1, expect a sentence with WORDS and such a code. late: when it has
# done its part and waits for rank 0.
stuck() {
    rm -f "$dir/run/model/ranks"
    mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --fresh --set "train.$way" >"$dir/log.s" 2>&1 &
    job=$!
    i=0
    while [ ! -s "$dir/run/model/ranks" ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i + 1)); done
    sleep 2
    victim=$(rank 1)
    [ -n "$victim" ] || { kill $job; fail "rank 1 not found"; }
    [ "${3-}" != late ] || { first=$(rank 0); kill -STOP "$first"; sleep 1; }
    kill -"$1" "$victim"
    [ "${3-}" != late ] || kill -CONT "$first"
    rm -f "$dir/late"
    ( sleep 30; touch "$dir/late"; kill -9 $job ) >/dev/null 2>&1 & guard=$!
    wait $job; code=$?
    kill $guard 2>/dev/null
    kill -CONT "$victim" 2>/dev/null; kill -9 "$victim" 2>/dev/null
    case $1,$code in STOP,75 | KILL,75 | KILL,137) ;; *) fail "exit code $code after $1" ;; esac
    [ ! -e "$dir/late" ] || fail "it took too long after $1"
    grep -q "rank 1 .*$2.*it was doing" "$dir/log.s" || fail "after $1 no sentence names rank 1"
    grep "rank 1 " "$dir/log.s" | head -1
}
for way in reduce=window reduce=messages "pipeline={stages: 2, microbatches: 4}"; do
    stuck STOP "does not answer"
    stuck STOP "does not answer" late
    stuck KILL "is gone"
done
