#!/bin/sh
# A client for 64-bit ARM, one static binary, takes part in a federation beside one of this machine. It runs in qemu's
# user mode; what it sends is what a board would send.
limbeck=$1
dir=$2/aarch64
source=$3
rm -rf "$dir/run" "$dir/serve.out" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; [ -z "$pids" ] || kill $pids 2>/dev/null; exit 1; }
skip() { echo "skipped: $1"; exit 0; }

command -v aarch64-linux-gnu-gcc >/dev/null || skip "there is no cross compiler (gcc-aarch64-linux-gnu)"
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "there is no qemu-aarch64 (qemu-user)"
if [ ! -d "$dir/sysroot/usr/lib" ]; then
    rm -rf "$dir/sysroot"
    sh "$source/tests/interop/aarch64_sysroot.sh" "$dir/sysroot" >"$dir/sysroot.log" 2>&1 || skip "no arm64 libraries: $(tail -n 1 "$dir/sysroot.log")"
fi
cmake -S "$source" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$source/launch/cmake/aarch64.cmake" \
    -DLMB_SYSROOT="$dir/sysroot" -DLMB_CLIENT_ONLY=ON -DLMB_STATIC=ON -DLMB_ZSTD=OFF -DLMB_EDGE_KERNELS=scalar >"$dir/cmake.log" 2>&1 || fail "it does not configure" "$dir/cmake.log"
cmake --build "$dir/build" --target limbeck -- -j2 >"$dir/build.log" 2>&1 || fail "it does not build" "$dir/build.log"
client=$dir/build/launch/limbeck
aarch64-linux-gnu-strip -o "$dir/stripped" "$client" || exit 1
bytes=$(wc -c <"$dir/stripped")
[ "$bytes" -le 2000000 ] || fail "the client has $bytes bytes without symbols; two millions are the limit"
aarch64-linux-gnu-readelf -l "$dir/stripped" | grep -q INTERP && fail "it is not static"

cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 600, test: 50, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, clients: 300}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
federation:
  server: {address: 127.0.0.1, port: 0, rounds: 2, target: 2, minimum: 2, gather_s: 120}
  client: {give_up_s: 120}
  local:
    train: {epochs: 1, batch: 16, threads: 1, lr: 0.02}
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
i=0
for program in "$limbeck" "$qemu $dir/stripped"; do
    invite=$("$limbeck" federation invite "$dir/run.yaml" --port "$port") || fail "no invite"
    $program join "$dir/run.yaml" --invite "$invite" --data-slice $i/2 >"$dir/join$i.log" 2>&1 &
    pids="$pids $!"
    i=$((i + 1))
done
wait $server || fail "the server failed" "$dir/serve.err" "$dir/join1.log"
pids=${pids#* }
for pid in $pids; do
    wait $pid || fail "a client failed" "$dir/join0.log" "$dir/join1.log"
done
for i in 0 1; do
    grep -q "round 2: update accepted" "$dir/join$i.log" || fail "client $i took no part" "$dir/join$i.log"
done
echo "aarch64, static, stripped: $bytes bytes"
