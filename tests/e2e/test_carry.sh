#!/bin/sh
# Gradual pruning with `carry`: each training begins with what the optimizer remembers of the channels that are left. That
# changes the weights; kills within the trainings and between them do not, nor ranks that divide what it remembers; an
# optimizer of another kind begins anew, and says so.
limbeck=$1 dir=$2/carry shim=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"
cat >"$dir/carry.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 240, test: 40, height: 8, width: 8, classes: 4}
split: {validation: 40}
student:
  model: {name: vgg, channels: [8, 0, 16]}
  train: {epochs: 1, batch: 64, shard: 16, lr: 0.01, threads: 1, optimizer: adam, checkpoint_s: 0}
  prune: {method: channels, criterion: l2, keep: 0.4, steps: 2, carry: true,
          train: {epochs: 2, batch: 64, shard: 16, lr: 0.01, threads: 1, optimizer: adam, checkpoint_s: 0}}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# hashes COMMAND ...: of the dense student, after the first step, and in the end
hashes() {
    "$@" >"$dir/out" 2>"$dir/err" </dev/null || { echo "failed: $*"; cat "$dir/err"; return; }
    sed -n 's/^weights //p' "$dir/out" | tr '\n' ' '
}
distill() { hashes "$limbeck" distill "$dir/carry.yaml" "$@"; }
nth() { echo "$1" | cut -d' ' -f"$2"; }

zeros=$(distill --set student.prune.carry=false)
with=$(distill --fresh)
[ "$(echo "$with" | wc -w)" = 3 ] || fail "not three trainings: $with"
[ "$(nth "$with" 1)" = "$(nth "$zeros" 1)" ] || fail "the dense student is another: $with, $zeros"
[ "$(nth "$with" 2)" != "$(nth "$zeros" 2)" ] || fail "the first step begins with zeros"
[ "$(nth "$with" 3)" != "$(nth "$zeros" 3)" ] || fail "the last step begins with zeros"
[ "$(distill)" = "$with" ] || fail "done again it ends in other bits: $(cat "$dir/out")"
grep -q '^epoch' "$dir/err" && fail "done again it trains"
# the last step alone, from what an earlier process has left
rm -rf "$dir/run/student"
[ "$(distill)" = "$with" ] || fail "the last step anew ends in other bits: $(cat "$dir/out")"
[ "$(grep -c 'epochs are done already' "$dir/err")" = 2 ] || fail "the first steps are done again"

n=4 kills=0 code=137
while [ $code -eq 137 ] && [ $n -lt 600 ]; do
    rm -rf "$dir/run"
    KILL_AT=$n LD_PRELOAD=$shim "$limbeck" distill "$dir/carry.yaml" >"$dir/out" 2>"$dir/err" </dev/null; code=$?
    [ $code -eq 137 ] || break
    kills=$((kills + 1))
    [ "$(distill)" = "$with" ] || fail "killed in call $n it ends in other bits: $(cat "$dir/out")"
    n=$((n + 29))
done
[ $kills -gt 3 ] || fail "only $kills kills"

if command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    two=$(ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" hashes mpirun -n 2 --oversubscribe --bind-to none "$limbeck" distill "$dir/carry.yaml" \
              --fresh --set student.prune.train.shard_optimizer=true)
    [ "$two" = "$with" ] || fail "two ranks that divide what the optimizer remembers end in other bits: $two, not $with"
fi

sgd="--set student.train.optimizer=sgd"
zeros=$(distill --fresh $sgd --set student.prune.carry=false)
with=$(distill --fresh $sgd)
[ "$(grep -c 'the training before was with sgd, this one is with adam, which begins anew' "$dir/err")" = 1 ] || fail "nothing says that adam begins anew"
[ "$(nth "$with" 2)" = "$(nth "$zeros" 2)" ] || fail "adam goes on with what sgd remembers"
[ "$(nth "$with" 3)" != "$(nth "$zeros" 3)" ] || fail "adam does not go on with its own"
echo "$kills kills"
exit $bad
