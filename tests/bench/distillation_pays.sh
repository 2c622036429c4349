#!/bin/sh
# tests/bench/distillation_pays.sh LIMBECK CONFIG FOLDER [SEED...] - does the teacher pay? The student of CONFIG is trained with
# it and, same budget, without (alpha 0), unpruned and in floats, for each seed (1 2 3), and both test accuracies are printed. The teacher is
# trained once, or taken from FOLDER/teacher/model.onnx. Stopped, the same command goes on.
set -eu
limbeck=$1 config=$2 folder=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3
accuracy() { sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' "$1"; }

mkdir -p "$folder"
[ -s "$folder/teacher/model.onnx" ] || "$limbeck" train "$config" --stage teacher --set "run=$folder"
for seed in "$@"; do
    for alpha in 0 taught; do
        run=$folder/seed-$seed-$alpha
        mkdir -p "$run/teacher"
        cp "$folder/teacher/model.onnx" "$run/teacher/"
        off=""
        [ $alpha = taught ] || off="--set student.distill.alpha=0"
        # shellcheck disable=SC2086 # one option or none
        [ -s "$run/student/stage.json" ] || "$limbeck" distill "$config" --set "run=$run" --set student.quantize=~ --set student.prune=~ \
            --set "student.train.seed=$seed" $off >"$run/log" 2>&1 || { tail -n 5 "$run/log" >&2; exit 1; }
    done
    echo "seed $seed: without the teacher $(accuracy "$folder/seed-$seed-0/student/stage.json")," \
        "with it $(accuracy "$folder/seed-$seed-taught/student/stage.json")"
done
