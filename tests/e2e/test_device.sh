#!/bin/sh
# `limbeck compress` on a device: limbeck-time as it was built plays the board. Off, the search does not begin; gone in the
# middle of it, it ends with a sentence, and the same command goes on when the board is back; the front says whose times
# they are, and a table of one machine is no other's.
limbeck=$1
dir=$2/device
time=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/c.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 400, test: 100, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 150, seed: 1}
teacher:
  model: {name: resnet, depth: 8, width: 8, mean: 120, scale: 0.015}
  train: {epochs: 3, batch: 64, lr: 0.1, threads: 1}
compress:
  teacher: $dir/run/teacher/model.onnx
  accuracy_drop_max: "60 %"
  step: 0.2
  steps: 1
  batches: 2
  probe: 16
  samples: 64
  calibration: 32
  tune: {epochs: 1, batch: 32, lr: 0.02, clip: 1, threads: 1}
Y
# a board that is off, that hears so many bytes before it is gone, or that works
cat >"$dir/board" <<B
#!/bin/sh
[ -e "$dir/off" ] && { echo "the board is off" >&2; exit 255; }
[ -e "$dir/short" ] && { dd bs=1 count=\$(cat "$dir/short") 2>/dev/null | "$time"; exit; }
exec "$time"
B
chmod +x "$dir/board"
. "$(dirname "$0")/compressing.sh"

"$limbeck" train "$dir/c.yaml" --stage teacher >/dev/null 2>"$dir/err" || { cat "$dir/err"; exit 1; }
compress 2 --set compress.device.name=pi
says "compress.device has a name and no command"
pi="--set compress.device.name=pi --set compress.device.command=$dir/board --set compress.device.patience_s=0"

touch "$dir/off"
compress 1 $pi
says "the device pi: .* has ended with exit code 255: the board is off"
[ -e "$dir/run/compress/journal.jsonl" ] && fail "a search without its device has begun"
rm "$dir/off"
compress 2 $pi --set compress.device.command="$dir/nothing"
says "exit code 127"

# on this machine, to have something to compare with
compress 0 --set run="$dir/own"
grep -q '"device": {"kernels": "' "$dir/own/compress/front.json" || fail "front.json does not say what this machine's kernels are"

# two hellos, a model and five operators, then silence: what was measured stays
echo $((2 * 22 + 16 + $(wc -c <"$dir/own/compress/points/000/model.lmb") + 5 * 20)) >"$dir/short"
compress 1 $pi
says "the device pi: .* has ended with exit code 0; the same command goes on when it is back"
measured=$(wc -l <"$dir/run/compress/latency.jsonl") || fail "no table"
[ "$measured" -eq 6 ] || fail "$measured lines in the table, five operators were measured before the board was gone"
rm "$dir/short"
compress 0 $pi
says "the device pi is .*; models run with the kernels "
front=$dir/run/compress/front.json
head -n 1 "$dir/run/compress/latency.jsonl" | grep -q '"kernels": "[a-z]*[0-9a-z]*", "device": "pi", "processor": "..*"' || fail "the table does not say whose it is"
grep -q '"device": {"name": "pi", "processor": "..*", "kernels": "' "$front" || fail "front.json does not say where it was measured"
grep -q '"float_latency_us": .*"float_latency_device": "the machine that searched"' "$front" || fail "front.json does not say where floats were measured"
grep -q "one thread of the device pi (" "$dir/run/compress/report.html" || fail "report.html does not say where it was measured"
grep -q "times as long" "$dir/run/compress/report.html" && fail "report.html compares two machines"
grep -q "^measured on pi: " "$dir/out" || fail "nothing says where it was measured"
grep -q "in float on this machine, .* as integers on pi" "$dir/out" || fail "nothing says where floats were measured"

# finished, it needs no board; the board is part of what was searched, its limits are not
touch "$dir/off"
compress 0 $pi --set compress.device.timeout_s=5
compress 2 $pi --set compress.device.command=elsewhere
says "another configuration or teacher"
compress 2
says "another configuration or teacher"

# its table is no other machine's, but frozen it serves without the board, and says whose it is
table="--set compress.table.file=$dir/run/compress/latency.jsonl"
compress 2 --set run="$dir/other" $table
says "measured on the device pi, and this search measures on its own machine"
compress 0 --set run="$dir/frozen" $table --set compress.table.frozen=true
grep -q '"device": {"name": "pi"' "$dir/frozen/compress/front.json" || fail "a frozen table has lost its device"
grep -q "not measured anew, of the device pi (" "$dir/frozen/compress/report.html" || fail "the frozen report has lost its device"

# beside a front of this machine bytes are compared, times are not
compress 0 $pi --set compress.compare_front="$dir/own/compress/front.json"
sed -n '/"compared"/,$p' "$front" | grep -q '"bytes": ' || fail "fronts are not compared"
sed -n '/"compared"/,$p' "$front" | grep -q '"latency_us": ' && fail "times of two machines are compared"
[ $bad = 0 ] && echo "a board that is off, gone, back, and itself"
exit $bad
