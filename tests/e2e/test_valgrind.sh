#!/bin/sh
# Server and client of a small federation under valgrind's memcheck: no invalid access, no use of what was never set, no
# leak that nobody holds.
limbeck=$1
dir=$2/valgrind
[ -n "$(command -v valgrind)" ] || { echo "skipped: there is no valgrind"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 40 "$@"; [ -z "$pids" ] || kill $pids 2>/dev/null; exit 1; }

cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 300, test: 50, height: 8, width: 8, classes: 4}
split: {train: 100, validation: 50, clients: 150}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
federation:
  server: {address: 127.0.0.1, port: 0, rounds: 3, target: 2, minimum: 2, gather_s: 300, reconnect_s: 300, codec: int8}
  client: {give_up_s: 300, connect_s: 120, ask: "true", threads: 1, nice: 1}
  local:
    train: {epochs: 1, batch: 16, threads: 1, lr: 0.02}
    distill: {alpha: 0.3, temperature: 2}
Y
"$limbeck" train "$dir/run.yaml" >"$dir/train.log" 2>&1 || fail "no model to begin with" "$dir/train.log"
check="valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
$check --log-file="$dir/serve.grind" "$limbeck" serve "$dir/run.yaml" --model "$dir/run/model/model.onnx" >"$dir/serve.out" 2>"$dir/serve.err" &
pids=$!
server=$pids
port=
i=0
while [ -z "$port" ] && [ $i -lt 1200 ]; do # ten minutes: valgrind on a busy machine
    sleep 0.5
    port=$(sed -n 's/^listening on .*://p' "$dir/serve.out")
    i=$((i + 1))
done
[ -n "$port" ] || fail "the server does not listen" "$dir/serve.err" "$dir/serve.grind"
for i in 0 1; do
    invite=$("$limbeck" federation invite "$dir/run.yaml" --port "$port") || fail "no invite"
    $check --log-file="$dir/join$i.grind" "$limbeck" join "$dir/run.yaml" --invite "$invite" --data-slice $i/2 >"$dir/join$i.log" 2>&1 &
    pids="$pids $!"
done
wait $server || fail "the server is not clean" "$dir/serve.grind" "$dir/serve.err"
pids=${pids#* }
for pid in $pids; do
    wait $pid || fail "a client is not clean" "$dir/join0.grind" "$dir/join1.grind" "$dir/join0.log" "$dir/join1.log"
done
grep -q "round 3: update accepted" "$dir/join1.log" || fail "no round 3" "$dir/join1.log"
