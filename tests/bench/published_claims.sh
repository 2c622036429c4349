#!/bin/sh
# tests/bench/published_claims.sh LIMBECK SOURCES FOLDER - what others report of optimised networks, as ratios of one
# run on CIFAR-10 (forms for 32 x 32, configs/cifar10/compress-*.yaml): time, memory and accuracy of the optimised
# MobileNetV2, MobileNetV1, SqueezeNet and a ResNet-56 that only loses channels, each against itself before, in floats
# and as integers; then a table of all of them: accuracy, time, FLOPs. CIFAR and RESNET56 say where data and the
# ResNet-56 are, WHAT which networks are wanted, EXTRA options for every search, TRAIN for every training. Stopped, the
# same command goes on.
set -eu
limbeck=$1 sources=$2 folder=$3
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
what=${WHAT:-mobilenet-v2 mobilenet-v1 squeezenet resnet56}
. "$sources/tests/bench/search.sh"

file_bytes() { wc -c <"$1" | tr -d ' '; }
less() { awk "BEGIN { printf \"%.0f %%\", 100 * (1 - $1 / $2) }"; } # A B: how much less A is

for name in $what; do
    run=$folder/$name config=$sources/configs/cifar10/compress-$name.yaml
    mkdir -p "$run"
    if [ "$name" = resnet56 ]; then
        original=$resnet56
        search "$run" "$config" --set "compress.teacher.path=$resnet56" --set "compress.moves=[channels]"
    else
        original=$run/teacher/model.onnx
        # shellcheck disable=SC2086 # TRAIN is a list
        [ -s "$original" ] || quiet "$limbeck" train "$config" --stage teacher --set "run=$run" \
            --set "data.path=$cifar" ${TRAIN-}
        search "$run" "$config"
    fi
    n=$(best "$run") us=$(of_point "$run" "$n" '"latency_us"')
    was=$(of_teacher "$run" "$test_key") is=$(of_point "$run" "$n" "$test_key")
    echo "$name: $(less "$us" "$(of_teacher "$run" '"float_latency_us"')") less time than in floats," \
        "$(less "$us" "$(of_point "$run" 0 '"latency_us"')") less than as integers before;" \
        "$(less "$(of_point "$run" "$n" '"bytes"')" "$(file_bytes "$original")") less memory than the file in floats," \
        "$(less "$(of_point "$run" "$n" '"bytes"')" "$(of_point "$run" 0 '"bytes"')") less than as integers;" \
        "$(awk "BEGIN { printf \"%.2f\", 100 * ($was - $is) }") points of accuracy"
done

echo
echo "| network | accuracy | latency, us | MFLOPs | bytes |"
echo "|---|---|---|---|---|"
for name in $what; do
    run=$folder/$name n=$(best "$folder/$name")
    [ "$name" = resnet56 ] && original=$resnet56 || original=$run/teacher/model.onnx
    echo "| $name, floats | $(percent "$(of_teacher "$run" "$test_key")") |" \
        "$(of_teacher "$run" '"float_latency_us"') |" \
        "$(awk "BEGIN { printf \"%.1f\", 2e-6 * $(of_point "$run" 0 '"macs"') }") | $(file_bytes "$original") |"
    echo "| $name, optimised | $(percent "$(of_point "$run" "$n" "$test_key")") | $(of_point "$run" "$n" '"latency_us"') |" \
        "$(awk "BEGIN { printf \"%.1f\", 2e-6 * $(of_point "$run" "$n" '"macs"') }") |" \
        "$(of_point "$run" "$n" '"bytes"') |"
done
