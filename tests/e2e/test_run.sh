#!/bin/sh
# The whole journey, shrunk: `limbeck run` leaves a summary and a page, reuses what is done, survives kill -9 in each
# stage without leaving processes behind, and does again only what a changed configuration asks for.
limbeck=$1
dir=$2/run
rm -rf "$dir" && mkdir -p "$dir" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >"$dir/journey.yaml" <<Y
run: $dir/two
data: {name: synthetic, train: 900, test: 100, height: 12, width: 12, classes: 4}
split: {train: 400, validation: 100, clients: 400, seed: 1}
teacher:
  model: {name: vgg, channels: [8, 0, 8]}
  train: {epochs: 4, batch: 64, lr: 0.05, threads: 1, checkpoint_s: 0.05}
student:
  model: {name: resnet, depth: 8, width: 4}
  train: {epochs: 4, batch: 64, lr: 0.05, threads: 1, checkpoint_s: 0.05}
  distill: {alpha: 0.5, temperature: 2}
  quantize: {train: {epochs: 1, batch: 64, lr: 0.002, threads: 1}, distill: {alpha: 0.5}}
federation:
  clients: 2
  server: {address: 127.0.0.1, port: 0, rounds: 2, target: 2, minimum: 1, gather_s: 5, deadline_s: 60}
  local: {train: {epochs: 1, batch: 32, threads: 1, lr: 0.0001}}
Y
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# journey EXIT-CODE [--set ...]: stdout to $dir/out, stderr to $dir/err
journey() {
    want=$1; shift
    "$limbeck" run "$dir/journey.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck run $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/err" || { fail "nothing says '$1'"; tail -5 "$dir/err"; }; }
sums() { (cd "$1" && cat teacher/model.onnx student/model.onnx student-int8/qat.onnx student-int8/model.lmb | cksum); }
alive() { grep -l -a -- "$dir/journey.yaml" /proc/[0-9]*/cmdline 2>/dev/null; }

# two ranks under mpirun; Open MPI leaks a little of its own
ASAN_OPTIONS=detect_leaks=0 journey 0
[ "$(tail -n 1 "$dir/out")" = "$dir/two/summary.json" ] || fail "the last line is not the path of the summary but '$(tail -n 1 "$dir/out")'"
names=$(sed -n 's/.*{"name": "\([^"]*\)".*/\1/p' "$dir/two/summary.json" | tr '\n' ' ')
[ "$names" = "teacher student student-int8 federated-int8 " ] || fail "summary.json has the stages '$names'"
for key in parameters macs bytes accuracy latency_us; do
    [ "$(grep -c "\"$key\": [0-9]" "$dir/two/summary.json")" = 4 ] || fail "summary.json: $key is not there four times"
done
head -n 1 "$dir/two/summary.json" | grep -q '^{"stages": \[$' && tail -n 1 "$dir/two/summary.json" | grep -q '^\]}$' || fail "summary.json has another frame"
[ -s "$dir/two/report.html" ] || fail "there is no report.html"
grep -E -i 'https?:|<script|<link|src=|@import|url\(' "$dir/two/report.html" && fail "report.html needs something from outside"
for stage in teacher student student-int8 federated-int8; do
    grep -q "$stage" "$dir/two/report.html" || fail "report.html does not speak of $stage"
done

# again: all is reused, nothing is touched
before=$(find "$dir/two" -name '*.onnx' -o -name '*.lmb' -o -name '*.h5' | sort | xargs ls -l --time-style=full-iso)
journey 0
after=$(find "$dir/two" -name '*.onnx' -o -name '*.lmb' -o -name '*.h5' | sort | xargs ls -l --time-style=full-iso)
[ "$before" = "$after" ] || fail "the second run did something"
[ "$(grep -c ': done, reused$' "$dir/err")" = 5 ] || fail "the second run does not say that five stages are reused"

# kill -9 as each stage has begun; the next start goes on at once, and what comes out is the same on one rank
for stage in teacher student student-int8 federation federated-int8; do
    "$limbeck" run "$dir/journey.yaml" --set run="$dir/killed" --set launch.ranks=1 >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    i=0
    until grep -q "^$stage: \(begins\|was\)" "$dir/err" || [ $i -ge 1200 ]; do sleep 0.05; i=$((i + 1)); done
    sleep 0.1
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
journey 0 --set run="$dir/killed" --set launch.ranks=1
i=0
while [ -n "$(alive)" ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
[ -z "$(alive)" ] || fail "processes are left: $(alive)"
[ "$(sums "$dir/killed")" = "$(sums "$dir/two")" ] || fail "killed in each stage, one rank ends in other files than two ranks undisturbed"
find "$dir/killed" -name '*.tmp*' | grep . && fail "temporaries are left"

# a result that somebody took away is made again
rm "$dir/two/teacher/model.onnx"
journey 0 --set launch.ranks=1
says "teacher/model.onnx is gone"
says "student: done, reused"
[ "$(sums "$dir/killed")" = "$(sums "$dir/two")" ] || fail "what was made again is something else"

# a result that was damaged is made again; so is what was built on a result that is another one now
head -c 500 "$dir/killed/student-int8/model.lmb" >"$dir/two/student-int8/model.lmb"
rm "$dir/two/federated-int8/model.lmb"
journey 0 --set launch.ranks=1
says "student-int8: its files are not those that it left"
says "federation: done, reused"
[ "$(sums "$dir/killed")" = "$(sums "$dir/two")" ] || fail "a damaged model.lmb is not made again"
rm "$dir/two/student-int8/qat.onnx"
journey 0 --set launch.ranks=1
says "student-int8/qat.onnx is gone"
says "federation: done, reused"
[ "$(sums "$dir/killed")" = "$(sums "$dir/two")" ] || fail "qat.onnx was made again as something else"
sed -i '2s/./x/' "$dir/two/student/started" "$dir/two/student/done" # as if the teacher had been another one
journey 0 --set launch.ranks=1
says "student: what it builds on has changed; what was there is now in $dir/two/old-1/student"
says "federation: done, reused"
[ "$(sums "$dir/killed")" = "$(sums "$dir/two")" ] || fail "the student of the same teacher is another one"
rm -rf "$dir/two/old-1"

# a stage that the configuration has no more is not reported, though its files lie there
journey 0 --set federation= --set launch.ranks=1
grep -q federated "$dir/two/summary.json" && fail "the summary has a stage of another configuration"
journey 0 --set launch.ranks=1
grep -q federated "$dir/two/summary.json" || fail "the summary lacks the federation"

# more classes than anybody looks at: figures, no matrix
"$limbeck" run "$dir/journey.yaml" --set federation= --set student= --set split.clients=0 --set teacher.train.epochs=1 --set launch.ranks=1 \
    --set data.classes=400 --set run="$dir/many" >"$dir/out" 2>"$dir/err" </dev/null || { fail "a run with 400 classes"; tail -2 "$dir/err"; }

# a changed configuration: what does not depend on it is reused, what does is moved away
journey 0 --set federation.server.rounds=1
says "student-int8: done, reused"
says "federation: the configuration has changed; what was there is now in $dir/two/old-1/federation"
[ -s "$dir/two/old-1/federation/model.onnx" ] || fail "old-1 does not hold the old federation"

# the same under secure aggregation, which clients insist on; and what it does not go with
journey 0 --set federation.clients=3 --set federation.server.target=3 --set federation.server.minimum=3 --set federation.server.rounds=1 \
    --set federation.server.secure_aggregation.clip=0.05 --set federation.client.secure_aggregation.required=true
says "secure aggregation against a curious server"
[ "$(grep -c 'part in the secure sum is done' "$dir/err")" = 3 ] || fail "three clients have no part in a secure sum"
[ -s "$dir/two/federated-int8/model.lmb" ] || fail "a federation under secure aggregation leaves no model"
journey 2 --set federation.server.secure_aggregation.clip=0.05 --set federation.server.aggregator=median
says "aggregator median needs more than the sum of all updates"

# a typing error far down is found before anything is done
journey 2 --set student.quantize.train.epocs=3 --set run="$dir/typo"
says "did you mean 'epochs'"
[ ! -e "$dir/typo" ] || fail "a refused run leaves a folder"

# Ctrl-C: a sentence, exit code 3; two at once: the second is refused
: >"$dir/err1"
"$limbeck" run "$dir/journey.yaml" --set run="$dir/stopped" --set launch.ranks=1 --set teacher.train.epochs=100000 >"$dir/out1" 2>"$dir/err1" </dev/null &
pid=$!
i=0
until grep -q "^epoch" "$dir/err1" || [ $i -ge 1200 ]; do sleep 0.05; i=$((i + 1)); done
journey 2 --set run="$dir/stopped" --set launch.ranks=1
says "another .limbeck. works in $dir/stopped"
kill -INT $pid
wait $pid; got=$?
[ $got = 3 ] || fail "stopped with Ctrl-C it ends with exit code $got"
grep -q "the same command goes on from here" "$dir/err1" || fail "stopped with Ctrl-C it says nothing"
[ -s "$dir/stopped/teacher/checkpoint.h5" ] || fail "stopped with Ctrl-C it saves nothing"
exit $bad
