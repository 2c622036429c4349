#!/bin/sh
# tests/bench/own_kernels.sh LIMBECK [ROUNDS] - training steps on one thread by our own kernels ("own", what a build without
# oneDNN runs) against the best of this build ("cpu"): both alternate, and the median ratio of images a second is printed with
# its quartiles. Needs a build with oneDNN; no data.
set -eu
limbeck=$1 rounds=${2:-9}
here=$(dirname "$0")/../..

rate() { # config batch backend options
    # shellcheck disable=SC2086 # options are words
    "$limbeck" bench "$1" --train --brief --batch "$2" --shape 3,32,32 --seconds 1 --backend "$3" $4 | sed -n 's|^images/s ||p'
}

compare() { # name config batch options
    i=0
    while [ $i -lt "$rounds" ]; do
        a=$(rate "$2" "$3" own "$4")
        b=$(rate "$2" "$3" cpu "$4")
        echo "$a $b"
        i=$((i + 1))
    done | awk '{ print $1 / $2, $1, $2 }' | sort -n | awk -v name="$1" '
        { ratio[NR] = $1; own[NR] = $2; best[NR] = $3 }
        function at(q) { return int(1 + q * (NR - 1) + 0.5) }
        END { m = at(0.5); printf "%-20s own / cpu %.2f [%.2f, %.2f]   (%.0f / %.0f images/s)\n", name, ratio[m], ratio[at(0.25)], ratio[at(0.75)], own[m], best[m] }'
}

compare "ResNet-8" "$here/configs/cifar10/resnet20.yaml" 128 "--set model.depth=8"
compare "MobileNetV2 x0.5" "$here/configs/cifar10/mobilenet-v2.yaml" 32 ""
