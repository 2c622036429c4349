#!/bin/sh
# `limbeck compress` on tiny data: a front whose points are loadable models; with a frozen latency table a search that is
# killed (kill -9) again and again ends in the same front, journal and model, to the byte; what can not be met is exit code 4
# with the nearest point there; what can not be asked is refused before any work. Integers for a profile, several teachers, a
# proof, and a teacher that ends in Softmax.
limbeck=$1
end_in_softmax=$3
dir=$2/compress
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/c.yaml" <<Y
run: $dir/first
data: {name: synthetic, train: 1000, test: 200, height: 12, width: 12, classes: 4}
split: {train: 600, validation: 300, seed: 1}
teacher:
  model: {name: resnet, depth: 8, width: 8, mean: 120, scale: 0.015}
  train: {epochs: 4, batch: 64, lr: 0.1, threads: 1}
compress:
  teacher: $dir/first/teacher/model.onnx
  objective: latency
  accuracy_drop_max: "15 %"
  slack: "5 %"
  deadline: "5 s"
  step: 0.2
  step_min: 0.06
  steps: 4
  batches: 4
  samples: 256
  calibration: 64
  tune: {epochs: 2, batch: 32, lr: 0.02, clip: 1, threads: 1}
  finish: {epochs: 1, batch: 32, lr: 0.002, clip: 1, threads: 1}
Y
# what a long last training is made of: versions that the teacher is asked for once, floats, integers
last="compress.recover={epochs: 3, batch: 32, lr: 0.01, threads: 1, augment: {flip: true, versions: 2}}"
. "$(dirname "$0")/compressing.sh"

"$limbeck" train "$dir/c.yaml" --stage teacher >/dev/null 2>"$dir/err" || { cat "$dir/err"; exit 1; }

# refused before any work: no journal is begun
compress 2 --set compress.accuracy_drop_max=
says "at what price"
compress 2 --set compress.accuracy_drop_max="1 kB"
says "must be one of %, points"
compress 2 --set compress.accuracy_drop_max="200 %"
says "no more than 100 % can be lost"
compress 2 --set compress.bytes_max="0 kB"
says "bytes_max is 0: nothing is as small as that"
compress 2 --set compress.accuracy_drop_max="0.1 %"
says "held-out samples can not show"
compress 2 --set compress.accuracy_drop_max="1 %" --set compress.held_out=test
says "its 100 samples that decide, half of the test part, can not show .* that takes 163, a test part of 326"
compress 2 --set compress.deadline="1 kB"
says "deadline: '1 kB' has the unit 'kB'; it must be one of us, ms, s"
compress 2 --set compress.deadline="0 us"
says "deadline is 0: nothing is as small as that"
compress 2 --set "compress.moves=[bits]"
says "moves has bits, and bits_min is 8"
compress 2 --set split.validation=0
says "split.validation is 0"
compress 1 --set data.classes=3
says "4 classes, the data 3"
compress 1 --set data.height=14
says "the data has"
compress 1 --set "compress.teacher={name: mlp, hidden: [8], activation: tanh}"
says "node [^ :]*: Tanh has no integer form"
"$limbeck" config check "$dir/c.yaml" --set "compress.teacher={name: mlp, hidden: [8], activation: tanh}" >/dev/null 2>"$dir/err" && fail "config check takes a teacher without an integer form"
says "Tanh has no integer form"
# names and options that would first be looked at hours later
for late in "tune.schedule=foo there.is.no.schedule" "finish.schedule=foo there.is.no.schedule" "finish.optimizer=foo there.is.no.optimizer" \
    "recover.optimizer={name:.adam,.foo:.1} there.is.no.key" "tune.optimizer={name:.sgd,.momentum:.-3} momentum" \
    "observer=minmix there.is.no.observer" "tune.backend=foo backend" "finish.patience=2 have.no.validation.samples"; do
    key=$(echo "${late% *}" | sed 's/:\./: /g; s/,\./, /g')
    compress 2 --set "compress.$key"
    says "${late##* }"
    "$limbeck" config check "$dir/c.yaml" --set "compress.$key" >/dev/null 2>"$dir/err" && fail "config check takes compress.$key"
    says "${late##* }"
done
compress 2 --set "compress.distill.losses=[attention]"
says "the loss 'attention' looks into the teacher"
compress 2 --set compress.qat.scheme=learned --set compress.finish= --set compress.slack=
says "compress.qat.scheme is learned, and nothing learns with fake quantisation"
compress 1 --set "compress.distill.teachers=[$dir/nobody.onnx]"
says "there is no file '$dir/nobody.onnx'"
"$limbeck" train "$dir/c.yaml" --stage teacher --set run="$dir/fool" --set teacher.train.epochs=1 --set teacher.train.lr=1.0e-9 >/dev/null 2>"$dir/err" || fail "no teacher that knows nothing"
compress 2 --set "compress.distill.teachers=[$dir/fool/teacher/model.onnx]"
says "about as many as guessing among 4 classes does"
[ -e "$dir/first/compress/journal.jsonl" ] && fail "a refused search has begun a journal"

# channels side by side and then normalised, by hand and as a teacher
joined="{name: layers, mean: 120, scale: 0.015, layers: [{concat: [[{conv: 4}], [{conv: {channels: 4, kernel: 1}}]]}, norm, {activation: relu}, {conv: 4}, {pool: global}, dense]}"
"$limbeck" quantize "$dir/c.yaml" --set "model=$joined" --set teacher= --set compress= --calibration 50 --out "$dir/joined.onnx" >"$dir/out" 2>"$dir/err" &&
    "$limbeck" export "$dir/joined.onnx" --out "$dir/joined.lmb" >>"$dir/out" 2>>"$dir/err" || fail "a model with Concat does not become integers: $(cat "$dir/err")"
compress 2 --set run="$dir/joined" --set "compress.teacher=$joined" # untrained: there is nothing to lose
says "the teacher: .* about as many as guessing among 4 classes does"
"$limbeck" train "$dir/c.yaml" --stage teacher --set run="$dir/joined" --set "teacher.model=$joined" >/dev/null 2>"$dir/err" || fail "no teacher with a Concat: $(cat "$dir/err")"
compress 0 --set run="$dir/joined" --set "compress.teacher=$dir/joined/teacher/model.onnx" --set compress.accuracy_drop_max="90 %" --set compress.steps=1 --set compress.tune.epochs=1

# a search; the last line is the path of its front
compress 0
front=$dir/first/compress/front.json
[ "$(tail -n 1 "$dir/out")" = "$front" ] || fail "the last line is '$(tail -n 1 "$dir/out")'"
for key in '"met": true' '"front": true' '"accepted": true' '"kind": "finished"' '"latency_p99_us": [0-9]' '"throughput_per_s": [0-9]' '"deadline_us": 5000000' '"deadline_missed": 0' '"drop_at_most": ' '"interval": ' '"moves": \["channels", "ranks", "blocks"\]' '"moves": \["[^"]* to ' '"against_parent": {"won": '; do
    grep -q -- "$key" "$front" || fail "front.json has no $key"
done
# the answer beside the teacher, by samples: the drop is that of the two accuracies
awk '/^ "teacher"/ { sub(/.*"test": {"accuracy": /, ""); was = $1 + 0 }
    /^ "tested"/ { sub(/.*"drop": /, ""); drop = $1 + 0; found = 1 }
    match($0, /"best": [0-9]+/) { best = substr($0, RSTART + 8, RLENGTH - 8) }
    index($0, "{\"point\": " best ",") && sub(/.*"test": {"accuracy": /, "") { is = $1 + 0 }
    END { exit !(found && drop - (was - is) < 1e-6 && was - is - drop < 1e-6) }' "$front" || fail "tested is not what the accuracies say" "$front"
grep -q "^point .*: of [0-9]* test samples, which had no say, .*may be, " "$dir/out" || fail "nothing says whether the test part bears it out" "$dir/out"
grep -q "held-out samples alone; of [0-9]* test samples, which had no say" "$dir/first/compress/report.html" || fail "report.html does not say whether the test part bears it out"
grep -q "predictions a second on one thread, of which 0 % take longer than 5000000 us.*\(uJ each\|no energy: .\)" "$dir/out" || fail "nothing says how many predictions a second, how many late, and what energy"
grep -q "later than 5000000 &micro;s</th>" "$dir/first/compress/report.html" || fail "report.html has no deadline"
grep -q "No energy: \|Energy is the whole" "$dir/first/compress/report.html" || fail "report.html does not speak of energy"
for n in $(sed -n 's/.*"folder": "\(points[^"]*\)".*/\1/p' "$front"); do
    for file in model.lmb model-int8.onnx; do
        "$limbeck" inspect "$dir/first/compress/$n/$file" >/dev/null 2>"$dir/err" || fail "$n/$file can not be loaded"
    done
done
cmp -s "$dir/first/compress/model.lmb" "$dir/first/compress/points/$(sed -n 's/.*"best": \([0-9]*\).*/00\1/p' "$front")/model.lmb" ||
    fail "model.lmb is not the best point's"
# the file says where it comes from: hashes of teacher and data, and what front.json says of the point
"$limbeck" inspect "$dir/first/compress/model.lmb" >"$dir/out" 2>"$dir/err"
for words in '^the file says of itself:$' '^ *teacher=[0-9a-f]\{16\}$' '^ *data=[0-9a-f]\{16\}$' '^ *samples=300$' '^ *part=held-out$'; do
    grep -q -- "$words" "$dir/out" || fail "inspect of the answer has no $words"
done
right=$(grep "\"point\": $(sed -n 's/.*"best": \([0-9]*\).*/\1/p' "$front")," "$front" | sed -n 's/.*"held_out": {"accuracy": \([0-9.]*\).*/\1/p' | head -n 1)
grep -q "^ *point=$(sed -n 's/.*"best": \([0-9]*\).*/\1/p' "$front")$" "$dir/out" || fail "inspect does not say which point it is"
grep -q "^ *accuracy=$(awk "BEGIN { printf \"%.4f\", $right }")$" "$dir/out" || fail "inspect says $(grep '^accuracy' "$dir/out"), front.json $right"
grep -E -i 'https?:|<script|<link|src=|@import|url\(' "$dir/first/compress/report.html" && fail "report.html needs something from outside"
sed -n '/as it was resolved/,/<\/pre>/p' "$dir/first/compress/report.html" >"$dir/resolved"
grep -q "^  steps: 4$" "$dir/resolved" && grep -q "^    epochs: 1$" "$dir/resolved" || fail "report.html has another configuration than was given" "$dir/resolved"
grep -q "^  recover:" "$dir/resolved" && fail "report.html has a training that nobody asked for"
grep -q "What was tried" "$dir/first/compress/report.html" || fail "report.html does not say what was tried"

# a finished search that has lost something says what and where, and goes on once it is back
for lost in latency.jsonl points/000/model.lmb; do
    cp "$dir/first/compress/$lost" "$dir/kept"
    head -c 300 "$dir/kept" >"$dir/first/compress/$lost"
    compress 1
    says "compress/$lost"
    rm "$dir/first/compress/$lost"
    compress 1
    says "compress/$lost is not there"
    cp "$dir/kept" "$dir/first/compress/$lost"
done
compress 0

# what is integers already is no teacher of a search, and a .lmb none at all
for n in model-int8.onnx qat.onnx; do
    compress 2 --set run="$dir/integers" --set compress.teacher="$dir/first/compress/points/000/$n"
    says "000/$n is made of integers (node .*), and a search begins with floats: .* model.onnx in its folder"
done
compress 2 --set run="$dir/integers" --set compress.teacher="{name: onnx, path: $dir/first/compress/points/000/qat.onnx}"
says "compress.teacher is made of integers"
compress 2 --set run="$dir/integers" --set compress.teacher="$dir/first/compress/model.lmb"
says "model.lmb is a .lmb, made of integers for a device"
compress 2 --set run="$dir/integers" --set "compress.distill.teachers=[$dir/first/compress/model.lmb]"
says "model.lmb is a .lmb, made of integers for a device"

# other searches' fronts beside it: a family by successive halving and by evolution, and this search itself
cat >"$dir/t.yaml" <<Y
run: $dir/family
data: {name: synthetic, train: 1000, test: 200, height: 12, width: 12, classes: 4}
split: {train: 600, validation: 300, seed: 1}
model: {name: resnet, depth: 8, width: 8, mean: 120, scale: 0.015}
train: {epochs: 2, batch: 64, lr: 0.1, threads: 1}
tune: {cost: macs, trials: 6, round: 4, method: {name: halving, rungs: 2}, space: {model.width: {int: [4, 8], step: 2}, train.lr: {real: [0.05, 0.2]}}}
Y
"$limbeck" tune "$dir/t.yaml" >"$dir/out" 2>"$dir/err" || fail "no tuning to compare with: $(tail -3 "$dir/err")"
"$limbeck" tune "$dir/t.yaml" --set run="$dir/free" --set tune.cost=none >"$dir/out" 2>"$dir/err" || fail "no tuning without a cost"
cp "$front" "$dir/own.json"
compress 0 --set "compress.compare_front=[$dir/family/tune/tune.json, $dir/own.json]"
grep -q '"method": "tune, halving", "front": [12], "beaten": [0-9]*, "beats": [0-9]*, ' "$front" || fail "front.json does not speak of the tuning"
grep -q "<h2>Beside other searches</h2>" "$dir/first/compress/report.html" || fail "report.html shows no other search"
grep -q "tune, halving: [0-9.]* % at [0-9]" "$dir/first/compress/report.html" || fail "the picture has no point of the other search"

# a tuning of thousands of trials is longer than any configuration
awk 'BEGIN {
    printf "{\"method\": \"nsga2\", \"cost\": \"bytes\", \"trials\": [\n"
    for (i = 0; i < 12000; i++)
        printf "%s  {\"trial\": %d, \"state\": \"done\", \"front\": %s, \"score\": 0.5, \"cost\": 900, \"values\": {\"train.lr\": 0.1, \"model.width\": 8}}",
            i ? ",\n" : "", i, i == 7000 ? "true" : "false"
    print " ]}"
}' >"$dir/long.json"
[ "$(wc -c <"$dir/long.json")" -gt 1048576 ] || fail "12,000 trials are short"
compress 0 --set "compress.compare_front=[$dir/long.json]"
grep -q '"method": "tune, nsga2", "front": 1, ' "$front" || fail "front.json does not speak of a long tuning"

# each technique alone, and all of them in one picture, at one accuracy
teacher="--set compress.teacher=$dir/first/teacher/model.onnx --set compress.steps=1"
compress 0 $teacher --set run="$dir/channels" --set "compress.moves=[channels]"
grep -q '"kind": "factor"' "$dir/channels/compress/journal.jsonl" && fail "channels alone factorises layers"
compress 0 $teacher --set run="$dir/bits" --set "compress.moves=[bits]" --set compress.bits_min=3 --set compress.objective=bytes
grep -q '"kind": "bits"' "$dir/bits/compress/journal.jsonl" || fail "bits alone lowers none"
grep -q '"kind": "\(shrink\|factor\)"' "$dir/bits/compress/journal.jsonl" && fail "bits alone takes other things away"
compress 0 --set "compress.compare_front=[$dir/channels/compress/front.json, $dir/bits/compress/front.json]"
for key in '"at_equal_accuracy": {"accuracy": 0[.0-9]*, "latency_us": ' '"method": "channels alone"' '"method": "bits alone"'; do
    grep -q -- "$key" "$front" || fail "front.json has no $key"
done
for words in "bits alone</span>" "latency at [0-9.]* %</th>" 'class="line s4"' "times)"; do
    grep -q -- "$words" "$dir/first/compress/report.html" || fail "report.html has no $words"
done

compress 2 --set "compress.compare_front=$dir/free/tune/tune.json"
says "has no cost and so no front"
compress 1 --set "compress.compare_front=$dir/first/compress/nothing.json"
says "nothing.json"
echo '{"points": 3}' >"$dir/bad.json"
compress 1 --set "compress.compare_front=$dir/bad.json"
says "is neither tune.json of .limbeck tune. nor front.json"
echo '{"points": [{"front": true, "held_out": {"accuracy": 3}, "bytes": 1}]}' >"$dir/bad.json"
compress 1 --set "compress.compare_front=$dir/bad.json"
says "has no accuracy in 0 .. 1"
compress 0

# progress says what is made small, and no more steps than there will be
compress 0 --set run="$dir/small" --set compress.objective=bytes --set compress.steps=1
grep -q "accepted so far: point [0-9]*, [0-9]* bytes; at least 0 s to go, and the last trainings" "$dir/err" "$dir/out" || fail "progress does not speak of bytes, or of steps that are not tried: $(grep "so far" "$dir/err" "$dir/out")"

# again: nothing is done twice
before=$(cksum <"$dir/first/compress/journal.jsonl")
compress 0
[ "$before" = "$(cksum <"$dir/first/compress/journal.jsonl")" ] || fail "a finished search went on"
# what somebody has changed or taken away is named, with what to do
cp "$dir/first/compress/journal.jsonl" "$dir/journal"
printf '\n' >>"$dir/first/compress/journal.jsonl" # an editor's
compress 0
sed -i 1d "$dir/first/compress/journal.jsonl"
compress 1
says "journal.jsonl, line 1: .*put the file back as it was, or begin again with --fresh"
: >"$dir/first/compress/journal.jsonl" # a full disk's
compress 1
says "points/001/model.lmb is there, and .*journal.jsonl has no points: put that back, or begin again with --fresh"
cp "$dir/journal" "$dir/first/compress/journal.jsonl"
mv "$dir/first/compress/points/000/model.lmb" "$dir/away.lmb"
compress 1
says "points/000/model.lmb is not there, and the journal has point 0: put it back, or begin again with --fresh"
mv "$dir/away.lmb" "$dir/first/compress/points/000/model.lmb"
compress 0
# another configuration in the same folder is refused; --fresh begins again
compress 2 --set compress.step=0.3
says "another configuration or teacher (.step: 0.2. where this one has .step: 0.3.)"
compress 2 --set compress.qat.scales=power_of_two
says "where this one has .*scales: power_of_two"
# unless it only lacks a key that this program knows and nobody has named: it was written before there was one
sed -i 's/\\n  penalty: 1[^\\]*\\n/\\n/' "$dir/first/compress/journal.jsonl"
grep -q 'penalty: 1' "$dir/first/compress/journal.jsonl" && fail "the key is still in the journal"
compress 0
compress 2 --set compress.penalty=0.5
says "where this one has .penalty: 0.5"

# --fresh: where no search begins, be it for its table or its teachers, all stays; a kill in between is made good at the next start
cp -r "$dir/first" "$dir/again"
again=$dir/again/compress
own="--set run=$dir/again"
left() { (cd "$again" && find . -type f ! -name lock ! -name latency.jsonl ! -name 'logits-*' ! -name front.json ! -name report.html ! -name 'model*' -o -path './points/*' -type f | sort | xargs cksum); }
points=$(ls "$again/points" | wc -l)
[ "$points" -ge 4 ] || fail "$points points are too few for this test"
left >"$dir/left"
compress 2 --fresh $own --set compress.steps=1 --set compress.table.frozen=true --set compress.table.file="$dir/nothing.jsonl"
compress 2 --fresh $own --set compress.steps=1 --set "compress.distill.teachers=[$dir/fool/teacher/model.onnx]"
says "about as many as guessing"
left | cmp - "$dir/left" || fail "--fresh has lost something to bad input"
mv "$again/journal.jsonl" "$again/journal.jsonl.before"
mv "$again/points/000/model.lmb" "$again/points/000/model.lmb.before"
echo half >"$again/points/000/model.lmb"
compress 0 $own
left | cmp - "$dir/left" || fail "what was put aside before a kill is not back"
# where one begins, points go that it does not have, but nothing that others have put there
mkdir "$again/points/mine" "$again/points/7"
echo mine | tee "$again/points/002/notes.txt" "$again/points/mine/model.onnx" >"$again/points/7/model.lmb"
compress 0 --fresh $own --set compress.steps=1 --set compress.finish= --set compress.slack=
n=$(grep -o '{"point": ' "$again/journal.jsonl" | wc -l)
[ "$n" -le 2 ] || fail "a step is $n points"
[ "$(ls "$again/points" | tr '\n' ' ')" = "000 001 002 7 mine " ] || fail "--fresh leaves the points $(ls "$again/points" | tr '\n' ' ')"
[ "$(cat "$again/points/002/notes.txt" "$again/points/mine/model.onnx" "$again/points/7/model.lmb" | grep -c mine)" = 3 ] || fail "--fresh takes what is not its own"
[ "$(ls "$again/points/002")" = notes.txt ] || fail "point 2 of the search before is not gone"
find "$again" -name '*.before' | grep . && fail "--fresh leaves what it has put aside"
# killed behind its first point
cp "$again/journal.jsonl" "$again/journal.jsonl.before"
mkdir "$again/points/005" && cp "$again/points/001/model.onnx" "$again/points/005"
compress 0 $own --set compress.steps=1 --set compress.finish= --set compress.slack=
[ -e "$again/points/005" ] || [ -e "$again/journal.jsonl.before" ] && fail "what a kill has left of --fresh stays"

# frozen: undisturbed, then killed again and again
frozen="--set compress.table.frozen=true --set compress.table.file=$dir/first/compress/latency.jsonl"
frozen="$frozen --set compress.macs_max=350k --set compress.bytes_max=20kB" # two limits that a step or two can meet, whatever was measured
compress 0 $frozen --set "$last" --set compress.prove=true --set run="$dir/whole"
[ $(ls "$dir"/whole/compress/logits-*.bin | wc -l) = 2 ] || fail "the teacher was not asked for two versions and the plain samples"
ls "$dir/whole/compress" | grep -q '[.]h5' && fail "a checkpoint of the last training is left"
grep -q '"penalty": {"latency": 0, "bytes": 0[.][0-9]*, "macs": 0[.]' "$dir/whole/compress/journal.jsonl" || fail "no multiplier in the journal"
kills=0
seed=4321
while [ $kills -lt 12 ]; do
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    "$limbeck" compress "$dir/c.yaml" $frozen --set "$last" --set compress.prove=true --set run="$dir/killed" >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    sleep "$(printf '0.%03d' $((100 + seed / 65536 % 500)))"
    kill -9 $pid 2>/dev/null || kills=12 # it was done before we came
    wait $pid 2>/dev/null
    kills=$((kills + 1))
    [ $kills = 5 ] && [ -e "$dir/killed/compress/journal.jsonl" ] && printf '{"point": 1, "par' >>"$dir/killed/compress/journal.jsonl" # a torn line
done
compress 0 $frozen --set "$last" --set compress.prove=true --set run="$dir/killed"
for file in front.json journal.jsonl model.lmb model-int8.onnx; do
    cmp "$dir/whole/compress/$file" "$dir/killed/compress/$file" || fail "killed and resumed, $file differs"
done

# a front beside itself; frozen, so that the search is as finished as it was
cp "$dir/whole/compress/front.json" "$dir/own.json"
compress 0 $frozen --set "$last" --set compress.prove=true --set run="$dir/whole" --set "compress.compare_front=$dir/own.json"
[ -z "$(find "$dir/whole/compress/points" -mindepth 1 -maxdepth 1 -type d ! -exec test -s '{}/model.onnx' \; -print)" ] || fail "a point without floats to train on from"
grep -q '"method": "compress", "front": [0-9]*, "beaten": 0, "beats": 0, ' "$dir/whole/compress/front.json" || fail "a front beats itself"

# more steps for a search that has ended, on another number of threads; nothing else may change
compress 0 --set compress.steps=5 --set compress.tune.threads=2
compress 2 --set compress.steps=5 --set compress.tune.epochs=3
says "tune.epochs\|epochs: 2"

# a limit that can not be met: exit code 4, the nearest point and the reason
compress 4 --set run="$dir/unmet" --set compress.objective=accuracy --set compress.latency_max="0.01 us" --set compress.steps=2 --set compress.finish.epochs=1
says "nothing is within all limits. Point [0-9]* is nearest, with [0-9.]* us where 0.01 are allowed"
grep -q '"met": false' "$dir/unmet/compress/front.json" || fail "front.json does not say that the budget is not met"
[ -s "$dir/unmet/compress/model.lmb" ] || fail "the nearest point's file is not there"

# a step towards a limit goes no further than the limit: of 434,432 MACs 7.9 % are to go, not 20
compress 0 --set run="$dir/near" --set compress.teacher="$dir/first/teacher/model.onnx" --set compress.objective=accuracy --set compress.accuracy_drop_max= --set compress.macs_max="0.4 M" --set compress.finish=
grep '"point": 1,' "$dir/near/compress/front.json" | grep -q '"step": 0.079' || fail "the step is not what the limit asks for: $(grep -o '"step": [0-9.]*' "$dir/near/compress/front.json")"
grep -q '"kind": "finished"' "$dir/near/compress/front.json" && fail "an empty section finish is one"

# integers for a profile, taught by two by another loss, with a proof that the teacher helps; a table of such shapes is there
first=$dir/first/teacher/model.onnx
table="--set compress.table.frozen=true --set compress.table.file=$dir/whole.jsonl --set compress.steps=1 --set compress.tune.epochs=1"
cp "$dir/first/compress/latency.jsonl" "$dir/whole.jsonl"
compress 0 $table --set run="$dir/asked" --set "compress.accuracy_drop_max=90 %" --set compress.teacher= --set "compress.distill={losses: [dkd], teachers: [$first, {file: $first, weight: 2}]}" \
    --set "compress.finish_distill={alpha: 0.3, temperature: 1}" --set compress.prove=true --set compress.equalise=true --set "compress.qat={scales: power_of_two, bits: 7, ends: 7}"
grep -q '"proof": {"kept": "\(taught\|alone\)", "won": [0-9]*, "lost": [0-9]*, "p": ' "$dir/asked/compress/front.json" || fail "front.json has no proof"
grep -q '"proof_won": ' "$dir/asked/compress/journal.jsonl" || fail "the journal has no proof"
grep -q "taught beside untaught" "$dir/asked/compress/report.html" || fail "report.html has no proof"
grep -q "the last training with the teacher wins [0-9]* and loses [0-9]* beside the same without: the teacher's is \(kept\|rejected\)" "$dir/err" || fail "nobody says what was proved"
for n in 000 001; do
    for profile in pot weights7; do
        "$limbeck" export "$dir/asked/compress/points/$n/model-int8.onnx" --out "$dir/asked.onnx" --profile $profile >/dev/null 2>"$dir/err" || fail "point $n is not for $profile: $(cat "$dir/err")"
    done
done
"$limbeck" export "$dir/first/compress/points/000/model-int8.onnx" --out "$dir/asked.onnx" --profile pot >/dev/null 2>&1 && fail "any integers are for the profile pot"

# a teacher that ends in Softmax: the same integers, which is said once
"$end_in_softmax" "$first" "$dir/plain.onnx" "$dir/softmax.onnx" "$dir/two.onnx" || fail "no model that ends in Softmax"
for m in plain softmax; do
    compress 0 $table --set run="$dir/$m" --set "compress.accuracy_drop_max=90 %" --set compress.teacher="$dir/$m.onnx" --set compress.finish= --set compress.slack=
    [ "$(grep -c "softmax.onnx ends in Softmax, which is left out" "$dir/err")" = "$(test $m = plain; echo $?)" ] || fail "$m: how often Softmax is spoken of"
    "$limbeck" quantize "$dir/c.yaml" "$dir/$m.onnx" --calibration 50 --out "$dir/$m.qat.onnx" >"$dir/out" 2>"$dir/err" &&
        "$limbeck" export "$dir/$m.qat.onnx" --out "$dir/$m.lmb" >>"$dir/out" 2>>"$dir/err" || fail "$m: no integers: $(cat "$dir/err")"
    "$limbeck" export "$dir/$m/compress/model.lmb" --to c --out "$dir/$m/c" --name m >"$dir/out" 2>"$dir/err" || fail "$m: no C source: $(cat "$dir/err")"
done
# nor what is evaluated, studied and trained on from it
for m in plain softmax; do
    "$limbeck" eval "$dir/c.yaml" "$dir/$m.onnx" >"$dir/$m.out" 2>"$dir/err" || fail "$m: no evaluation" "$dir/err"
    "$limbeck" sensitivity "$dir/c.yaml" "$dir/$m.onnx" --set run="$dir/$m" --samples 50 >/dev/null 2>"$dir/err" || fail "$m: no sensitivity: $(cat "$dir/err")"
    model="{name: onnx, path: $dir/$m.onnx}"
    "$limbeck" train "$dir/c.yaml" --stage teacher --set run="$dir/$m" --set "teacher.model=$model" --set teacher.train.epochs=1 --set teacher.train.lr=0.01 >"$dir/out" 2>"$dir/err" ||
        fail "$m: no training on: $(cat "$dir/err")"
    [ "$(grep -c "softmax.onnx ends in Softmax, which is left out" "$dir/err")" = "$(test $m = plain; echo $?)" ] || fail "$m: how often training speaks of Softmax"
    sed -n 's/.*\(loss [0-9.]*\).*/\1/p' "$dir/out" "$dir/err" "$dir/$m.out" >"$dir/$m.loss"
    [ -s "$dir/$m.loss" ] || fail "$m: nobody says a loss"
    sed 's/plain/M/g; s/softmax/M/g; s/output probabilities/output logits/' "$dir/$m/sensitivity/sensitivity.json" >"$dir/$m.json" || bad=1
done
cmp "$dir/plain.loss" "$dir/softmax.loss" || fail "Softmax changes a loss"
cmp "$dir/plain.json" "$dir/softmax.json" || fail "Softmax changes what a sensitivity is"
cmp "$dir/plain/c/m.c" "$dir/softmax/c/m.c" || fail "Softmax changes what is compressed" # the .lmb names another teacher
cmp "$dir/plain.lmb" "$dir/softmax.lmb" || fail "Softmax changes what is quantised"
# of several outputs the first has integers, which is said, too
for step in "quantize $dir/c.yaml $dir/two.onnx --calibration 50 --out $dir/two.qat.onnx" "export $dir/two.qat.onnx --out $dir/two.lmb"; do
    # shellcheck disable=SC2086 # a list
    "$limbeck" $step >"$dir/out" 2>"$dir/err" || fail "two outputs, $step: $(cat "$dir/err")"
    grep -q "onnx has 2 outputs: logits, the first, is taken" "$dir/err" || fail "$step: nobody speaks of the second output: $(cat "$dir/err")"
done
cmp "$dir/plain.lmb" "$dir/two.lmb" || fail "a second output changes what is quantised"

# a table that is not there can not be frozen
compress 2 --set run="$dir/none" --set compress.table.frozen=true --set compress.table.file="$dir/nothing.jsonl"
says "is not there"
[ $bad = 0 ] && echo "front, resume and refusals as expected"
exit $bad
