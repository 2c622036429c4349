#!/bin/sh
# tests/bench/hinton_mnist.sh LIMBECK SOURCES FOLDER [SEED...] - the experiment of configs/mnist/hinton.yaml: 800-800
# taught by 1200-1200, and alone. Both get the same number of trials, of which validation samples choose one; that is
# trained for each seed (1 2 3), and errors on the 10,000 test images are printed. MNIST says where the data is,
# EPOCHS how long a student learns (60), EXTRA options for students, TAUGHT and ALONE other trials. Stopped, the same
# command goes on.
set -eu
limbeck=$1 config=$2/configs/mnist/hinton.yaml folder=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3
mnist=${MNIST:-data/mnist} epochs=${EPOCHS:-60}
# Trials: rate and temperature, or rate and share of the epochs (a student alone may do better for stopping early).
taught=${TAUGHT:-0.01:4 0.01:20 0.03:4 0.03:20 0.1:4 0.1:20}
alone=${ALONE:-0.01:1 0.01:3 0.03:1 0.03:3 0.1:1 0.1:3}
accuracy() { sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' "$1/stage.json"; }
errors() { accuracy "$1" | awk '{ printf "%d", 10000 * (1 - $1) + 0.5 }'; }
validation() { sed -n 's/.*"valid_accuracy": \([0-9.]*\).*/\1/p' "$1/student/history.jsonl" | sort -n | tail -n 1; }

mkdir -p "$folder"
[ -s "$folder/teacher/model.onnx" ] ||
    "$limbeck" train "$config" --stage teacher --set "run=$folder" --set "data.path=$mnist" >"$folder/log" 2>&1 ||
    { tail -n 5 "$folder/log"; exit 1; }
echo "teacher: $(errors "$folder/teacher") errors"

# once KIND TRIAL SEED: leaves $run
once() {
    run=$folder/$1-$2-seed-$3 rate=${2%:*} other=${2#*:}
    mkdir -p "$run"
    ln -sfn ../teacher "$run/teacher"
    if [ "$1" = taught ]; then
        set -- "$3" --set "student.distill.temperature=$other" --set "student.train.epochs=$epochs"
    else
        set -- "$3" --set student.distill.alpha=0 --set "student.train.epochs=$((epochs / other))"
    fi
    seed=$1
    shift
    # shellcheck disable=SC2086 # EXTRA is a list
    [ -s "$run/student/stage.json" ] || "$limbeck" distill "$config" --set "run=$run" --set "data.path=$mnist" \
        --set "student.train.lr=$rate" --set "student.train.seed=$seed" ${EXTRA-} "$@" >>"$run/log" 2>&1 ||
        { tail -n 5 "$run/log"; exit 1; }
}

for kind in alone taught; do
    [ $kind = alone ] && trials=$alone || trials=$taught
    best=0
    for trial in $trials; do
        once $kind "$trial" "$1"
        v=$(validation "$run")
        echo "$kind, rate:$([ $kind = alone ] && echo 1/epochs || echo temperature) $trial: validation $v"
        if awk "BEGIN { exit !($v > $best) }"; then best=$v chosen=$trial; fi
    done
    for seed in "$@"; do
        once $kind "$chosen" "$seed"
        echo "$kind, $chosen, seed $seed: $(errors "$run/student") errors"
    done
done
