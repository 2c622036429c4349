# tests/bench/student.sh - what resnet8.sh and resnet20_distilled.sh have in common; read by them. They set limbeck,
# folder, cifar, resnet56, and teacher_config, whose teacher is asked once for all runs of a folder.

accuracy() { sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' "$1/stage.json"; }
bytes() { sed -n 's/.*"bytes": \([0-9]*\).*/\1/p' "$1/stage.json"; }
figures() { # RUN
    echo "floats $(accuracy "$1/student"), integers $(accuracy "$1/student-int8"), $(bytes "$1/student-int8") bytes"
}

quiet() { # COMMAND..., into the log of $run
    "$@" >>"$run/log" 2>&1 || { echo "FAILED: $*; the end of $run/log:"; tail -n 5 "$run/log"; exit 1; }
}

# The folder's teacher, also the run's.
teacher_for() { # RUN
    run=$1
    mkdir -p "$folder/teacher" "$run"
    ln -sfn ../teacher "$run/teacher"
    [ -s "$folder/teacher/model.onnx" ] ||
        quiet "$limbeck" train "$teacher_config" --stage teacher --set "run=$run" --set "data.path=$cifar" \
            --set "teacher.model.path=$resnet56"
}

# The student in floats that run FROM has trained, for a run that makes other integers of it.
floats_of() { # FROM RUN
    [ ! -d "$2/student" ] || return 0
    rm -rf "$2/student.part"
    mkdir -p "$2"
    cp -r "$1/student" "$2/student.part"
    mv "$2/student.part" "$2/student"
}

# Train, quantise, export; what is finished is not done again.
student() { # RUN SEED CONFIG [OPTION...]
    run=$1 seed=$2 config=$3
    shift 3
    mkdir -p "$run"
    # shellcheck disable=SC2086 # EXTRA is a list
    set -- "$config" --set "run=$run" --set "data.path=$cifar" --set "student.train.seed=$seed" \
        --set "student.quantize.train.seed=$seed" ${EXTRA-} "$@"
    if ! grep -q working "$run/student-int8/stage.json" 2>/dev/null; then
        quiet "$limbeck" distill "$@"
        quiet "$limbeck" export "$@"
    fi
}
