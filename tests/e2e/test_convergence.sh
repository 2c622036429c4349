#!/bin/sh
# Slow: how far simulated federations come, against the bars of the literature. The curves are left in <folder>/*/simulation/history.jsonl.
#
#   mcmahan   the network of McMahan et al. 2017, IID: 99 % on MNIST's test images within 26 rounds       mnist/             10 minutes
#   scaffold  ten uneven clients of CIFAR-10: SCAFFOLD above FedAvg, both after 20 rounds                  cifar-10-batches-bin/  25 minutes
#   feddf     clients of two or three classes: FedDF above FedAvg after as many rounds                    cifar-10-batches-bin/  15 minutes
#   hapt      every person a client, against all recordings in one place                                  hapt/              10 minutes
#
# Data below LMB_DATA (default: data/ of the source), as in the configurations. Stopped, it goes on.
limbeck=$1 dir=$2/convergence/$4 source=$3 which=$4
data=${LMB_DATA:-$source/data}
need() { [ -d "$data/$1" ] || { echo "skipped: $data has no $1; LMB_DATA=... names another folder"; exit 0; }; }
fail() { echo "FAILED: $*"; exit 1; }
mkdir -p "$dir" || exit 1
# simulate NAME CONFIG DATA OPTION...
simulate() {
    name=$1 config=$2 set=$3
    shift 3
    "$limbeck" simulate "$source/configs/$config" --test --set run="$dir/$name" --set data.path="$data/$set" "$@" >"$dir/$name.out" 2>>"$dir/$name.log" ||
        fail "$name: $(tail -n 3 "$dir/$name.log")"
}
# The test accuracy, in percent, of the round that validation chose.
accuracy() { sed -n 's/^simulation: test accuracy \([0-9.]*\) %.*/\1/p' "$dir/$1.out"; }
# above A B MARGIN
above() { echo "$which: $1 %, to compare with $2 %"; echo "$1 $2 $3" | awk '{ found = $1 >= $2 + $3 } END { exit !found }' || fail "$1 % is not $3 points above $2 %"; }

case $which in
mcmahan)
    need mnist
    simulate iid mnist/mcmahan.yaml mnist
    round=$(sed -n 's/^{"round": \([0-9]*\),.*"test_accuracy": \(0\.99[0-9]*\|1\),.*/\1/p' "$dir/iid/simulation/history.jsonl" | head -n 1)
    echo "mcmahan: 99 % in round ${round:-none}"
    [ -n "$round" ] || fail "no round of 26 reached 99 %" ;;
scaffold)
    need cifar-10-batches-bin
    simulate fedavg cifar10/niid.yaml cifar-10-batches-bin
    simulate scaffold cifar10/niid.yaml cifar-10-batches-bin --set federation.server.aggregator=scaffold
    above "$(accuracy scaffold)" "$(accuracy fedavg)" 1.5 ;;
feddf)
    need cifar-10-batches-bin
    simulate without cifar10/feddf.yaml cifar-10-batches-bin --set federation.distill=null
    simulate with cifar10/feddf.yaml cifar-10-batches-bin
    above "$(accuracy with)" "$(accuracy without)" 0 ;;
hapt)
    need hapt
    simulate people signals/hapt-federated.yaml hapt
    "$limbeck" train "$source/configs/signals/hapt-federated.yaml" --set run="$dir/central" --set data.path="$data/hapt" --set split.clients=0 \
        >"$dir/central.out" 2>>"$dir/central.log" || fail "central: $(tail -n 3 "$dir/central.log")"
    above "$(accuracy people)" "$(sed -n 's/^model: test accuracy \([0-9.]*\) %.*/\1/p' "$dir/central.out")" -10 ;;
*) fail "no such thing: $which" ;;
esac
