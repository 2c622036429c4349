#!/bin/sh
# A client-only build of its own: it configures without what it does not need, links few libraries, is small, enrols
# with an invite at the server of the whole build and takes part in a round beside an ordinary client. With `static` it is one
# file that needs no library, and finds its server by name without libc.
limbeck=$1
dir=$2/client$4
source=$3
rm -rf "$dir/run" "$dir/model" "$dir/state" "$dir/serve.out" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; [ -z "$pids" ] || kill $pids 2>/dev/null; exit 1; }

limit=1000000 options="-DLMB_CLIENT_ONLY=ON"
if [ "$4" = static ]; then
    for lib in sodium yaml protobuf-c z; do
        [ -f "$(cc -print-file-name=lib$lib.a)" ] || { echo "skipped: there is no static lib$lib"; exit 0; }
    done
    limit=2000000 options="$options -DLMB_STATIC=ON -DLMB_ZSTD=OFF -DLMB_EDGE_KERNELS=scalar" # preset client-static
fi
cmake -S "$source" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release $options >"$dir/cmake.log" 2>&1 ||
    fail "the client-only build does not configure" "$dir/cmake.log"
cmake --build "$dir/build" --target limbeck >"$dir/build.log" 2>&1 || fail "the client-only build does not build" "$dir/build.log"
client=$dir/build/launch/limbeck
strip -o "$dir/stripped" "$client" || exit 1
bytes=$(wc -c <"$dir/stripped")
[ "$bytes" -lt $limit ] || fail "the client has $bytes bytes without symbols; $limit are the limit"
[ "$4" = static ] && readelf -l "$dir/stripped" | grep -q INTERP && fail "it is not static"
for lib in mpi hdf5 dnnl crypto sqlite libuv cuda gomp; do
    ldd "$client" 2>/dev/null | grep -q "$lib" && fail "the client needs lib$lib"
done
"$client" --help >"$dir/help" || fail "--help failed"
grep -q '^  join ' "$dir/help" || fail "there is no join" "$dir/help"
grep -q '^  serve ' "$dir/help" && fail "there is a serve" "$dir/help"
"$client" list >"$dir/list" || fail "list failed"

cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 600, test: 50, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, clients: 300}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
federation:
  host: localhost
  server: {address: 127.0.0.1, port: 0, rounds: 2, target: 2, minimum: 2, gather_s: 60}
  client: {give_up_s: 120}
  local:
    train: {epochs: 1, batch: 16, threads: 1, lr: 0.02}
    distill: {alpha: 0.3, temperature: 2}
    calibrate: 1
Y
"$client" inspect "$dir/run.yaml" >"$dir/inspect" 2>&1 || fail "the client cannot inspect" "$dir/inspect"
"$limbeck" train "$dir/run.yaml" >"$dir/train.log" 2>&1 || fail "no model to begin with" "$dir/train.log"
"$limbeck" serve "$dir/run.yaml" --model "$dir/run/model/model.onnx" >"$dir/serve.out" 2>"$dir/serve.err" &
pids=$!
server=$pids
port=
while [ -z "$port" ] && kill -0 $server 2>/dev/null; do
    sleep 0.2
    port=$(sed -n 's/^listening on .*://p' "$dir/serve.out")
done
[ -n "$port" ] || fail "the server does not listen" "$dir/serve.err"
i=0
for program in "$limbeck" "$client"; do
    invite=$("$limbeck" federation invite "$dir/run.yaml" --port "$port") || fail "no invite"
    "$program" join "$dir/run.yaml" --invite "$invite" --data-slice $i/2 >"$dir/join$i.log" 2>&1 &
    pids="$pids $!"
    i=$((i + 1))
done
small=$! # the last one is the small client: what it takes of memory at most
while awk '/^VmHWM/ { print $2 }' "/proc/$small/status" >"$dir/rss.now" 2>/dev/null && [ -s "$dir/rss.now" ]; do
    mv "$dir/rss.now" "$dir/rss"
    sleep 0.05
done
wait $server || fail "the server failed" "$dir/serve.err" "$dir/join1.log"
pids=${pids#* }
for pid in $pids; do
    wait $pid || fail "a client failed" "$dir/join0.log" "$dir/join1.log"
done
grep -q "round 2: update accepted" "$dir/join1.log" || fail "the small client took no part" "$dir/join1.log"
grep -q "^round 0, " "$dir/serve.err" || fail "round 0 was not evaluated" "$dir/serve.err"
grep -q "validation rose by\|it stays" "$dir/serve.out" || fail "the server does not say what came of it" "$dir/serve.out"
rss=$(cat "$dir/rss")
[ "$rss" -le 10240 ] || fail "the client took $rss KiB; 10 MiB are the limit with a model and data of next to nothing"
[ -s "$dir/run/federation/model.onnx" ] || fail "there is no model"
echo "resident: $rss KiB at most; stripped: $bytes bytes; $(size "$client" | awk 'NR == 2 { print $1 " text, " $2 " data, " $3 " bss" }'); $(cat "$dir/serve.out" | tail -n 1)"
