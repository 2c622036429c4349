#!/bin/sh
# tests/bench/resnet8.sh LIMBECK SOURCES FOLDER [SEED...] - ResNet-8 on CIFAR-10 as integers
# (configs/cifar10/resnet8*.yaml): alone, taught by a ResNet-56, and the taught one with weights of four bits
# (narrow), for each seed (1 2 3); a line for each with test accuracy in floats and of the integers, bytes of the
# .lmb, RAM of the C export. CIFAR and RESNET56 say where data and teacher are, WHAT which of the three are wanted,
# EXTRA options for every training. Stopped, the same command goes on.
set -eu
limbeck=$1 sources=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
taught=$sources/configs/cifar10/resnet8-distilled.yaml teacher_config=$taught
. "$sources/tests/bench/student.sh"

for seed in "$@"; do
    for name in ${WHAT:-alone taught narrow}; do
        run=$folder/seed-$seed-$name
        [ "$name" = alone ] || teacher_for "$run"
        case $name in
        alone) student "$run" "$seed" "$sources/configs/cifar10/resnet8.yaml" ;;
        taught) student "$run" "$seed" "$taught" --set "teacher.model.path=$resnet56" ;;
        narrow)
            floats_of "$folder/seed-$seed-taught" "$run"
            student "$run" "$seed" "$taught" --set "teacher.model.path=$resnet56" --set student.quantize.qat.bits=4 \
                --set student.quantize.qat.scheme=learned --set student.quantize.train.lr=0.01 \
                --set student.quantize.train.epochs=24
            ;;
        esac
        [ -s "$run/c/model.h" ] ||
            quiet "$limbeck" export "$run/student-int8/model.lmb" --to c --out "$run/c" --name model
        echo "seed $seed, $name: $(figures "$run"), RAM" \
            "$(sed -n 's/^#define MODEL_ARENA \([0-9]*\).*/\1/p' "$run/c/model.h")"
    done
done
