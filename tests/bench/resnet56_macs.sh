#!/bin/sh
# tests/bench/resnet56_macs.sh LIMBECK SOURCES FOLDER [RATIO...] - an imported ResNet-56 (93.39 %, others' training) with
# RATIO (2.1 2.55) times fewer multiply-accumulates, as accurate as that can be: is time saved as MACs are? A line for
# each: MACs, accuracy on the test part, and the measured speed-up, integers against integers, as a share of the MAC
# ratio. CIFAR and RESNET56 say where data and teacher are; TEACHERS who teaches the last training (files, with commas;
# the ResNet-56 itself), EXTRA options for every search, FRONT for the first, LAST for the others, such as
# "--set compress.recover.epochs=30". Stopped, the same command goes on.
#
# First a search by time over channels and blocks: layers of lower rank, and channels beside a vector's width, save MACs
# and no time. The point of it that has as many MACs as wanted, or a few more, is brought to the limit and trained for long.
# Half of the test part chooses between a point and its finished form, the other half has no say; both are printed.
set -eu
limbeck=$1 sources=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 2.1 2.55
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
config=$sources/configs/cifar10/compress-resnet56.yaml front=$folder/front
. "$sources/tests/bench/search.sh"

# Median time of both files, of five runs in turns: the clock of a processor changes within minutes.
in_turns() { # FILE FILE
    for _ in 1 2 3 4 5; do
        for file in "$1" "$2"; do
            "$limbeck" eval "$config" "$file" --set "data.path=$cifar" --set "compress.teacher.path=$resnet56" 2>/dev/null |
                sed -n 's/.* \([0-9.]*\) us at batch 1.*/\1/p'
        done | paste -s -d ' ' -
    done | awk '{ print $1 / $2 }' | sort -n | sed -n 3p
}

# shellcheck disable=SC2086 # lists of options
search "$front" "$config" --set "compress.teacher.path=$resnet56" --set "compress.moves=[channels, blocks]" \
    --set "compress.accuracy_drop_max=3.5 %" --set compress.slack= --set compress.recover=null --set compress.finish=null \
    ${FRONT-}
macs=$(of_point "$front" 0 '"macs"') unpruned=$front/compress/points/000
for times in "$@"; do
    run=$folder/$times limit=$(awk "BEGIN { printf \"%d\", $macs / $times }")
    from=$(sed -n 's/^  {"point": \([0-9]*\),.*"macs": \([0-9]*\),.*/\2 \1/p' "$front/compress/front.json" | sort -n |
        awk -v limit="$limit" '$1 >= limit { printf "%03d", $2; exit }')
    # shellcheck disable=SC2086 # a list of options
    search "$run" "$config" --set "compress.teacher=$front/compress/points/$from/model.onnx" \
        --set "compress.distill.teachers=[${TEACHERS:-$unpruned/model.onnx}]" --set "compress.moves=[channels, blocks]" \
        --set compress.objective=accuracy --set compress.accuracy_drop_max= --set "compress.macs_max=$limit MACs" \
        --set compress.recover.epochs=100 --set compress.recover.lr=0.05 --set compress.recover.augment.versions=16 \
        --set compress.finish.epochs=6 --set compress.finish.augment.versions=16 \
        --set compress.distill.alpha=0.9 --set compress.distill.temperature=4 ${LAST-}
    n=$(best "$run") all=$("$limbeck" eval "$config" "$run/compress/model.lmb" --set "data.path=$cifar" \
        --set "compress.teacher.path=$resnet56" 2>/dev/null | sed -n 's/.*test accuracy \([0-9.]* %\).*/\1/p')
    fewer=$(ratio "$macs" "$(of_point "$run" "$n" '"macs"')")
    faster=$(in_turns "$unpruned/model.lmb" "$run/compress/model.lmb")
    echo "$times times: point $n has $(of_point "$run" "$n" '"macs"') MACs, $fewer times fewer;" \
        "accuracy $(percent "$(of_point "$run" "$n" "$test_key")") on the half of the test part that had no say, $all on all;" \
        "$faster times faster as integers, $(ratio "$faster" "$fewer") of the MAC ratio"
done
