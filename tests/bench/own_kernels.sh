#!/bin/sh
# tests/bench/own_kernels.sh CLIENT BUILD [ROUNDS] - training steps on one thread without oneDNN, by what a client is made of,
# against those of a build with everything: both alternate, and the median ratio of images a second is printed with its quartiles.
# No data is needed. CLIENT and BUILD are build folders with tests/bench_train_peer:
#     cmake --preset release && cmake --build --preset release --target bench_train_peer
#     cmake --preset client  && cmake --build --preset client  --target bench_train_peer
set -eu
client=$1/tests/bench_train_peer best=$2/tests/bench_train_peer rounds=${3:-9}

compare() { # name model batch
    i=0
    while [ $i -lt "$rounds" ]; do
        a=$("$client" "$2" 3 32 32 "$3" 1 1)
        b=$("$best" "$2" 3 32 32 "$3" 1 1)
        echo "$a $b"
        i=$((i + 1))
    done | awk '{ print $1 / $2, $1, $2 }' | sort -n | awk -v name="$1" '
        { ratio[NR] = $1; own[NR] = $2; best[NR] = $3 }
        function at(q) { return int(1 + q * (NR - 1) + 0.5) }
        END { m = at(0.5); printf "%-20s client / best %.2f [%.2f, %.2f]   (%.0f / %.0f images/s)\n", name, ratio[m], ratio[at(0.25)], ratio[at(0.75)], own[m], best[m] }'
}

compare "ResNet-8" "{name: resnet, depth: 8}" 128
compare "MobileNetV2 x0.5" "{name: mobilenet_v2, width: 0.5}" 128
