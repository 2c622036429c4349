#!/bin/sh
# A simulated federation: the same bits on 1, 2 and 4 ranks, whatever the aggregator, after kills at any time, and as a real
# federation of the same clients.
limbeck=$1
dir=$2/simulate
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/s.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 900, test: 200, height: 8, width: 8, classes: 4}
split: {validation: 60, clients: 840}
model: {name: vgg, channels: [8], dropout: 0.1, mean: 100, scale: 0.02}
federation:
  clients: 12
  alpha: 2
  least: 10
  server: {rounds: 6, target: 7, minimum: 2, seed: 3, address: 127.0.0.1, port: 0}
  simulate: {dropout: 0.15, checkpoint_s: 0}
  local: {train: {epochs: 2, batch: 32, lr: 0.05, threads: 1, optimizer: {name: sgd, momentum: 0}}, calibrate: 1}
Y
fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }
# model RUN RANKS OPTION...: the hash of what is left
model() {
    run=$dir/$1; n=$2; shift 2
    mpirun -n "$n" --oversubscribe --bind-to none "$limbeck" simulate "$dir/s.yaml" --set "run=$run" "$@" >"$dir/out" 2>"$dir/log" || return 1
    sha256sum <"$run/simulation/model.onnx"
}
for aggregator in fedavg fedyogi median scaffold; do
    one=$(model "$aggregator-1" 1 --set federation.server.aggregator=$aggregator) || fail "$aggregator on one rank"
    for ranks in 2 4; do
        [ "$(model "$aggregator-$ranks" $ranks --set federation.server.aggregator=$aggregator)" = "$one" ] || fail "$aggregator: other bits on $ranks ranks"
    done
done
# What clients remember, what they keep, who teaches and how uneven they are: the same on any number of ranks.
several() {
    name=$1; shift
    one=$(model "$name-1" 1 "$@") || fail "$name on one rank"
    [ "$(model "$name-3" 3 "$@")" = "$one" ] || fail "$name: other bits on 3 ranks"
}
# Under secure aggregation: each rank hides and shows its own clients, and nothing of it stays.
secure="federation.server.secure_aggregation={clip: 0.5, neighbours: 4, threshold: 3}"
clear=$(model clear 1 --set federation.server.minimum=3 --set "$secure") || fail "secure sums on one rank"
[ "$(model masks 3 --set federation.server.minimum=3 --set "$secure" --set federation.simulate.masks=true)" = "$clear" ] ||
    fail "masks leave something in the sums of 3 ranks"
several topk --set "federation.server.codec={name: topk, share: 0.05}"
several fedbn --set federation.local.keep=batch_norm --set federation.local.validation=0.2 --set federation.local.personal.head=2
grep -q '"each_client_valid_accuracy_worst_tenth": 0' "$dir/fedbn-3/simulation/history.jsonl" || fail "no word of the worst clients"
grep -q '"each_client_personal_accuracy_median": 0' "$dir/fedbn-3/simulation/history.jsonl" || fail "no word of heads of their own"
several feddf --set "federation.distill={samples: 40, train: {epochs: 2, batch: 20, lr: 0.01}}" --set federation.server.download=bf16
groups="federation.groups=[{clients: 5, model: {name: mlp, hidden: [12], mean: 100, scale: 0.02}}]"
teach="federation.distill={samples: 40, train: {epochs: 2, batch: 20, lr: 0.01}}"
several groups --set "$groups" --set "$teach"
[ -s "$dir/groups-3/simulation-1/model.onnx" ] || fail "no model of the second group"
for wait in 0.1 0.2 0.3; do
    timeout -s KILL $wait "$limbeck" simulate "$dir/s.yaml" --set "run=$dir/killed-g" --set "$groups" --set "$teach" >/dev/null 2>&1
done
[ "$(model killed-g 1 --set "$groups" --set "$teach")" = "$one" ] || fail "groups, killed and gone on: other bits"
cmp -s "$dir/killed-g/simulation-1/model.onnx" "$dir/groups-1/simulation-1/model.onnx" || fail "the second group, killed and gone on: other bits"
"$limbeck" simulate "$dir/s.yaml" --set "$groups" --set "run=$dir/none" >/dev/null 2>"$dir/log" && fail "groups that do not teach each other"
grep -q "add that section" "$dir/log" || fail "the sentence about groups"
several iid --set federation.server.rounds=2 --set federation.partition=iid
several quantity --set federation.server.rounds=2 --set federation.partition=quantity
several shards --set federation.server.rounds=2 --set federation.partition=shards

grep -q '^{"round": 6, "committed": true' "$dir/median-4/simulation/history.jsonl" || fail "no history"

one=$(sha256sum <"$dir/fedavg-1/simulation/model.onnx")
for wait in 0.05 0.1 0.15 0.2 0.3; do
    timeout -s KILL $wait "$limbeck" simulate "$dir/s.yaml" --set "run=$dir/killed" >/dev/null 2>&1
    timeout -s KILL $wait "$limbeck" simulate "$dir/s.yaml" --set "run=$dir/killed-s" --set federation.server.aggregator=scaffold >/dev/null 2>&1
done
[ "$(model killed-s 1 --set federation.server.aggregator=scaffold)" = "$(sha256sum <"$dir/scaffold-1/simulation/model.onnx")" ] ||
    fail "killed and gone on with what clients remember: other bits"
[ "$(model killed 1)" = "$one" ] || fail "killed and gone on: other bits"
[ "$(grep -c '"round"' "$dir/killed/simulation/history.jsonl")" = 7 ] || fail "a history with other than 7 lines"
[ "$(model killed 1 --fresh)" = "$one" ] || fail "--fresh: other bits"

# The same four clients over the network, then with more that can be asked of them.
real_one() {
    all="$1 --set federation.clients=4 --set federation.server.target=4 --set federation.server.rounds=3 --set federation.simulate.dropout=0"
    # shellcheck disable=SC2086 # several options
    one=$(model four 1 $all) || fail "four simulated clients"
    real="$dir/s.yaml --set run=$dir/real $all"
    # shellcheck disable=SC2086
    : >"$dir/serve.out"
    "$limbeck" serve $real >"$dir/serve.out" 2>"$dir/log" &
    server=$!
    for _ in $(seq 1200); do grep -q listening "$dir/serve.out" && break; sleep 0.05; done
    port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$dir/serve.out")
    for i in 0 1 2 3; do
        # shellcheck disable=SC2086
        "$limbeck" join $real --set federation.client.give_up_s=60 --data-slice $i/4 --invite "$("$limbeck" federation invite $real --port "$port")" \
            >"$dir/join-$i.log" 2>&1 &
    done
    wait $server || fail "the server"
    wait
    [ "$(sha256sum <"$dir/real/federation/model.onnx")" = "$one" ] || fail "the simulation and the real federation differ"
}
real_one ""
rm -rf "$dir/real" "$dir/four"
real_one "--set federation.server.codec=topk --set federation.server.download=bf16 --set federation.local.validation=0.2 --set federation.distill.samples=40"

"$limbeck" simulate "$dir/s.yaml" --set federation.server.minimum=50 --set federation.server.target=60 >/dev/null 2>"$dir/log" && fail "an impossible minimum"
grep -q "no round could ever succeed" "$dir/log" || fail "the sentence about minimum"
"$limbeck" simulate "$dir/s.yaml" --set federation.server.aggregator=scaffold --set federation.local.train.optimizer=adam >/dev/null 2>"$dir/log" &&
    fail "SCAFFOLD with Adam"
grep -q "momentum: 0" "$dir/log" || fail "the sentence about plain gradient descent"
"$limbeck" simulate "$dir/s.yaml" --set federation.server.selection=best >/dev/null 2>"$dir/log" && fail "an unknown selection"
grep -q "known are: uniform" "$dir/log" || fail "the sentence about selections"
echo "simulate: passed"
