#!/bin/sh
# tests/bench/resnet20_distilled.sh LIMBECK SOURCES FOLDER [SEED...] - what is a teacher worth to ResNet-20
# (configs/cifar10/resnet20-distilled.yaml), for each seed (1 2 3); a line a run with test accuracy in floats and of
# the integers, bytes of the .lmb:
#   alone, taught      the same budget, images and first weights without and with the teacher
#   w4a4               weights of four bits and what they are multiplied with, but in the first and the last layer; of
#                      the taught one, whose floats it is compared with
#   w3a8, w3a8-taught  weights of three bits, of the one that was trained alone; without and with the teacher
# CIFAR and RESNET56 say where data and teacher are, WHAT which runs are wanted, EXTRA options for every training,
# such as "--set student.train.epochs=182" for one of full length. A FOLDER/teacher of resnet8.sh serves here, too.
# Stopped, the same command goes on.
set -eu
limbeck=$1 sources=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
config=$sources/configs/cifar10/resnet20-distilled.yaml teacher_config=$config
# Few bits: steps are learned, and for twice as long.
narrow="--set student.quantize.qat.scheme=learned --set student.quantize.train.epochs=12"
. "$sources/tests/bench/student.sh"

for seed in "$@"; do
    for name in ${WHAT:-alone taught w4a4 w3a8 w3a8-taught}; do
        run=$folder/seed-$seed-$name
        teacher_for "$run"
        set -- "$run" "$seed" "$config" --set "teacher.model.path=$resnet56"
        # shellcheck disable=SC2086 # $narrow is a list
        case $name in
        alone) student "$@" --set student.distill.alpha=0 --set student.quantize.distill.alpha=0 ;;
        taught) student "$@" ;;
        w4a4)
            floats_of "$folder/seed-$seed-taught" "$run"
            student "$@" $narrow --set student.quantize.qat.bits=4 --set student.quantize.qat.activation_bits=4 \
                --set student.quantize.qat.activation_ends=8
            ;;
        w3a8 | w3a8-taught)
            floats_of "$folder/seed-$seed-alone" "$run"
            [ $name = w3a8 ] && alpha=0 || alpha=0.7
            student "$@" $narrow --set student.quantize.qat.bits=3 --set student.distill.alpha=0 \
                --set student.quantize.distill.alpha=$alpha
            ;;
        esac
        echo "seed $seed, $name: $(figures "$run")"
    done
done
