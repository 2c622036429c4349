#!/bin/sh
# docs/examples/embed_client.c as its reader would run it: two devices without files take part in a federation; one is
# killed in the middle and started again without an invite.
limbeck=$1
dir=$2/embed
embed=$3
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; [ -z "$pids" ] || kill $pids 2>/dev/null; exit 1; }

cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 600, test: 50, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, clients: 300}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
federation:
  server: {address: 127.0.0.1, port: 0, rounds: 60, target: 2, minimum: 2, gather_s: 60, reconnect_s: 60}
  local:
    train: {epochs: 2, batch: 16, threads: 2, lr: 0.02}
Y
"$limbeck" train "$dir/run.yaml" >"$dir/train.log" 2>&1 || fail "no model to begin with" "$dir/train.log"
"$limbeck" serve "$dir/run.yaml" --model "$dir/run/model/model.onnx" >"$dir/serve.out" 2>"$dir/serve.err" &
pids=$!
server=$pids
port=
for i in $(seq 240); do
    port=$(sed -n 's/^listening on .*://p' "$dir/serve.out")
    [ -n "$port" ] && break
    sleep 0.5
done
[ -n "$port" ] || fail "the server does not listen" "$dir/serve.err"
for i in 0 1; do
    invite=$("$limbeck" federation invite "$dir/run.yaml" --port "$port") || fail "no invite"
    "$embed" "$dir/state$i" "$invite" >"$dir/embed$i.log" 2>&1 &
    pids="$pids $!"
    last=$!
done
for i in $(seq 240); do
    grep -q "round 2: update accepted" "$dir/embed1.log" && break
    sleep 0.2
done
kill -9 $last
pids=${pids% *}
wait $last 2>/dev/null
"$embed" "$dir/state1" >>"$dir/embed1.log" 2>&1 &
pids="$pids $!"
wait $server || fail "the server failed" "$dir/serve.err" "$dir/embed0.log" "$dir/embed1.log"
pids=${pids#* }
for pid in $pids; do
    wait $pid || fail "a device failed" "$dir/embed0.log" "$dir/embed1.log"
done
for i in 0 1; do
    grep -q "round 60: update accepted" "$dir/embed$i.log" || fail "device $i did not stay to the end" "$dir/embed$i.log"
done
