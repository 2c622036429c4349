#!/bin/sh
# tests/bench/resnet56_macs.sh LIMBECK SOURCES FOLDER [RATIO...] - an imported ResNet-56 (93.39 %, others' training) with
# RATIO (2.1 2.55) times fewer multiply-accumulates, as accurate as that can be: is time saved as MACs are? A line for
# each: MACs, accuracy on the test part, and the measured speed-up, integers against integers, as a share of the MAC
# ratio. CIFAR and RESNET56 say where data and teacher are, EXTRA options for every search, such as
# "--set compress.recover.epochs=60". Stopped, the same command goes on.
#
# Channels beside a vector's width save MACs and no time, so the time that the ratio asks for (0.8 of it) is a limit, too.
# Half of the test part chooses between a point and its finished form, the other half has no say; both are printed.
set -eu
limbeck=$1 sources=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 2.1 2.55
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
. "$sources/tests/bench/search.sh"

macs=$("$limbeck" inspect "$resnet56" | sed -n 's/^\([0-9]*\) MACs.*/\1/p')
[ "$macs" ] || { echo "FAILED: limbeck inspect $resnet56 says no MACs"; exit 1; }
# The teacher as integers, and no step: its time.
search "$folder/1" "$sources/configs/cifar10/compress-resnet56.yaml" --set "compress.teacher.path=$resnet56" \
    --set compress.objective=accuracy --set compress.accuracy_drop_max= --set "compress.macs_max=$((2 * macs)) MACs" \
    --set compress.recover=null --set compress.finish=null
us=$(of_point "$folder/1" 0 '"latency_us"')
for times in "$@"; do
    run=$folder/$times
    search "$run" "$sources/configs/cifar10/compress-resnet56.yaml" --set "compress.teacher.path=$resnet56" \
        --set compress.objective=accuracy --set compress.accuracy_drop_max= \
        --set "compress.macs_max=$(awk "BEGIN { printf \"%d\", $macs / $times }") MACs" \
        --set "compress.latency_max=$(awk "BEGIN { printf \"%.1f\", $us / 0.8 / $times }") us"
    n=$(best "$run") all=$("$limbeck" eval "$sources/configs/cifar10/compress-resnet56.yaml" "$run/compress/model.lmb" \
        --set "data.path=$cifar" 2>/dev/null | sed -n 's/.*test accuracy \([0-9.]* %\).*/\1/p')
    fewer=$(ratio "$(of_point "$run" 0 '"macs"')" "$(of_point "$run" "$n" '"macs"')")
    faster=$(ratio "$(of_point "$run" 0 '"latency_us"')" "$(of_point "$run" "$n" '"latency_us"')")
    echo "$times times: point $n has $(of_point "$run" "$n" '"macs"') MACs, $fewer times fewer;" \
        "accuracy $(percent "$(of_point "$run" "$n" "$test_key")") on the half of the test part that had no say, $all on all;" \
        "teacher $(percent "$(of_teacher "$run" "$test_key")"); $faster times faster as integers," \
        "$(ratio "$faster" "$fewer") of the MAC ratio;" \
        "$(ratio "$(of_teacher "$run" '"float_latency_us"')" "$(of_point "$run" "$n" '"latency_us"')") times faster than in floats"
done
