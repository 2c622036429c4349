#!/bin/sh
# tests/bench/resnet8.sh LIMBECK SOURCES FOLDER [SEED...] - ResNet-8 on CIFAR-10 as integers (configs/cifar10/resnet8*.yaml): without
# a teacher, taught by a ResNet-56, and the taught one with weights of four bits, for each seed (1 2 3); a line for each: test
# accuracy of the integers, bytes of the .lmb, RAM of the C export. The teacher is asked once for all seeds. CIFAR and RESNET56 say where data
# and teacher are, WHAT which of alone, taught, narrow are wanted (all), EXTRA options for every training. Stopped, the same command goes on.
set -eu
limbeck=$1 sources=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx} what=${WHAT:-alone taught narrow}
alone=$sources/configs/cifar10/resnet8.yaml taught=$sources/configs/cifar10/resnet8-distilled.yaml
field() { sed -n "s/.*\"$1\": \\([0-9.]*\\).*/\\1/p" "$2/student-int8/stage.json"; }
quiet() { # RUN COMMAND...
    "$@" >>"$run/log" 2>&1 || { echo "FAILED: $*; the end of $run/log:"; tail -n 5 "$run/log"; exit 1; }
}
# train NAME SEED CONFIG [OPTION...]
train() {
    name=$1 seed=$2 config=$3 run=$folder/seed-$2-$1
    shift 3
    mkdir -p "$run"
    if ! grep -q working "$run/student-int8/stage.json" 2>/dev/null; then
        # shellcheck disable=SC2086 # EXTRA is a list
        set -- "$config" --set "run=$run" --set "data.path=$cifar" --set "student.train.seed=$seed" --set "student.quantize.train.seed=$seed" \
            ${EXTRA-} "$@"
        quiet "$limbeck" distill "$@"
        quiet "$limbeck" export "$@"
    fi
    [ -s "$run/c/model.h" ] || quiet "$limbeck" export "$run/student-int8/model.lmb" --to c --out "$run/c" --name model
    echo "seed $seed, $name: $(field accuracy "$run") ($(field bytes "$run") bytes, RAM $(sed -n 's/.*MODEL_ARENA \([0-9]*\).*/\1/p' "$run/c/model.h"))"
}
mkdir -p "$folder"
for seed in "$@"; do
    for name in $what; do
        [ "$name" = alone ] || { mkdir -p "$folder/teacher" "$folder/seed-$seed-$name"; ln -sfn ../teacher "$folder/seed-$seed-$name/teacher"; }
        [ "$name" = alone ] || [ -s "$folder/teacher/model.onnx" ] || { run=$folder/seed-$seed-$name
            quiet "$limbeck" train "$taught" --stage teacher --set "run=$run" --set "data.path=$cifar" --set "teacher.model.path=$resnet56"; }
        case $name in
        alone) train alone "$seed" "$alone" ;;
        taught) train taught "$seed" "$taught" --set "teacher.model.path=$resnet56" ;;
        narrow) # from the taught student in floats
            [ -d "$folder/seed-$seed-narrow/student" ] || { cp -r "$folder/seed-$seed-taught/student" "$folder/seed-$seed-narrow/student.part"
                mv "$folder/seed-$seed-narrow/student.part" "$folder/seed-$seed-narrow/student"; }
            train narrow "$seed" "$taught" --set "teacher.model.path=$resnet56" --set student.quantize.qat.bits=4 \
                --set student.quantize.qat.scheme=learned --set student.quantize.train.lr=0.01 --set student.quantize.train.epochs=24 ;;
        esac
    done
done
