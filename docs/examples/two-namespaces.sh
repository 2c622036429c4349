#!/bin/sh
# docs/examples/two-namespaces.sh [LIMBECK [FOLDER]] - the federation of docs/federation.md on one machine, as if on two: the
# server and the client each live in a network of their own (Linux network namespaces), joined by a cable (veth) that
# does not lead anywhere else. Needs root, or a kernel that lets users make namespaces.
limbeck=${1:-limbeck}
dir=${2:-/tmp/limbeck-two-namespaces}
if [ "$(id -u)" -ne 0 ]; then
    command -v unshare >/dev/null && unshare -rnm true 2>/dev/null && # root of nothing but a namespace of its own
        exec unshare -rnm sh -c 'mount -t tmpfs none /run; exec sh "$0" "$@"' "$0" "$limbeck" "$dir"
    echo "skipped: needs root"; exit 0
fi
server=limbeck-server-$$ client=limbeck-client-$$
ip netns add $server 2>/dev/null || { echo "skipped: this machine lets nobody make network namespaces"; exit 0; }
pids=
end() { [ -z "$pids" ] || kill $pids 2>/dev/null; wait; ip netns del $server 2>/dev/null; ip netns del $client 2>/dev/null; }
trap end EXIT
trap 'exit 1' INT TERM
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; exit 1; }
says() { for i in $(seq 150); do grep -q "$1" "$2" 2>/dev/null && return 0; sleep 0.2; done; return 1; }

ip netns add $client || fail "no second namespace"
ip link add lmbs$$ netns $server type veth peer name lmbc$$ netns $client 2>/dev/null ||
    { echo "skipped: this machine lets nobody lay a cable (veth) between namespaces"; exit 0; }
ip -n $server addr add 10.77.0.1/24 dev lmbs$$ && ip -n $server link set lmbs$$ up && ip -n $server link set lo up || fail "the server's network"
ip -n $client addr add 10.77.0.2/24 dev lmbc$$ && ip -n $client link set lmbc$$ up && ip -n $client link set lo up || fail "the client's network"
on_server() { ip netns exec $server "$@"; }
on_client() { ip netns exec $client "$@"; }

rm -rf "$dir" && mkdir -p "$dir/admin" "$dir/server" "$dir/client" || exit 1

# The admin makes a key, on a machine of their own.
admin=$("$limbeck" federation admin-key "$dir/admin/admin.key") || fail "no admin key"

# Both sides describe the data; each has its own.
common="data: {name: synthetic, train: 600, test: 50, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, clients: 300}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}"
cat >"$dir/server/federation.yaml" <<Y
run: $dir/server/run
$common
federation:
  host: 10.77.0.1
  server:
    {address: 10.77.0.1, port: 7100, rounds: 3, target: 1, minimum: 1, approval: manual, admin: $admin, status: {port: 7101}}
  local: {train: {epochs: 1, batch: 16, threads: 1, lr: 0.02}}
Y
cat >"$dir/client/federation.yaml" <<Y
run: $dir/client/run
$common
federation:
  client: {admin: $admin, give_up_s: 60}
Y
on_server "$limbeck" train "$dir/server/federation.yaml" >"$dir/train.log" 2>&1 || fail "no model to begin with" "$dir/train.log"
on_server "$limbeck" serve "$dir/server/federation.yaml" --model "$dir/server/run/model/model.onnx" >"$dir/serve.out" 2>"$dir/serve.err" &
pids=$!
server_pid=$!
says "^listening on 10.77.0.1:7100" "$dir/serve.out" || fail "the server does not listen" "$dir/serve.err"

# One invite, carried to the client; it joins and waits.
on_server "$limbeck" federation invite "$dir/server/federation.yaml" >"$dir/client/invite" || fail "no invite"
on_client "$limbeck" join "$dir/client/federation.yaml" --invite-file "$dir/client/invite" >"$dir/join.log" 2>&1 &
pids="$pids $!"
client_pid=$!
says "waits for approval" "$dir/join.log" || fail "the client does not reach the server" "$dir/join.log" "$dir/serve.err"

# Its owner reads the fingerprint out, and who holds that one is approved and signed for by the admin: three rounds.
print=$(sed -n 's/.*fingerprint is //p' "$dir/join.log")
"$limbeck" federation approve "$dir/server/federation.yaml" "$print" || fail "approve"
"$limbeck" federation export-roster "$dir/server/federation.yaml" "$dir/admin/roster" || fail "export-roster"
"$limbeck" federation sign-roster "$dir/admin/roster" "$dir/admin/roster.signed" --key "$dir/admin/admin.key" >"$dir/signed.txt" || fail "sign-roster"
grep -q " $print\$" "$dir/signed.txt" || fail "the admin does not see whom they sign for" "$dir/signed.txt"
"$limbeck" federation import-roster "$dir/server/federation.yaml" "$dir/admin/roster.signed" || fail "import-roster"
wait $client_pid || fail "the client" "$dir/join.log"
wait $server_pid || fail "the server" "$dir/serve.err"
pids=
grep -q "round 3: update accepted" "$dir/join.log" || fail "the client took no part" "$dir/join.log"
"$limbeck" federation status "$dir/server/run/federation/server" || fail "status"
tail -n 1 "$dir/serve.out"
echo "three rounds between 10.77.0.1 and 10.77.0.2"
