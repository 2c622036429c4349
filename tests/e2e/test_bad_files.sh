#!/bin/sh
# Files that are missing, cut short, damaged or cannot be written, for every command that meets them: one sentence on
# stderr that names the file and says what to do, a non-zero exit, nothing half-written.
limbeck=$1 dir=$2/files make_data=$3
umount "$dir/small" 2>/dev/null
rm -rf "$dir" && mkdir -p "$dir" || exit 1
trap 'umount "$dir/small" 2>/dev/null' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# refused CODE WORDS COMMAND...
refused() {
    code=$1; words=$2; shift 2
    timeout 60 "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$code" ] || fail "$* -> exit $got, want $code: $(tail -2 "$dir/err")"
    grep -q -- "$words" "$dir/err" || fail "$*: '$(cat "$dir/err")' (want: $words)"
    grep '^limbeck [a-z]*: ' "$dir/err" | awk 'length > 500 || !/[a-z]/ { exit 1 }' || fail "$*: that is no sentence: $(cat "$dir/err")"
}
cat >"$dir/good.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 900, test: 60, height: 12, width: 12, classes: 4}
split: {train: 400, validation: 60, clients: 400}
launch: {ranks: 1}
teacher:
  model: {name: mlp, hidden: [8]}
  train: {epochs: 1, batch: 64, lr: 0.05, threads: 1}
student:
  model: {name: vgg, channels: [4, 0, 4]}
  train: {epochs: 1, batch: 64, lr: 0.05, threads: 1}
  distill: {alpha: 0.5}
  quantize: {train: {epochs: 1, batch: 64, lr: 0.002, threads: 1}, distill: {alpha: 0.5}}
federation:
  clients: 2
  server: {address: 127.0.0.1, port: 0, rounds: 1, target: 2, minimum: 1, gather_s: 5, deadline_s: 60}
  client: {give_up_s: 3}
  local: {train: {epochs: 1, batch: 32, threads: 1, lr: 0.0001}}
Y
good=$dir/good.yaml

# ---- the files of a stage before are not there yet ----
refused 1 "teacher/model.onnx" "$limbeck" distill "$good"
refused 1 "student-int8/qat.onnx" "$limbeck" export "$good"
refused 1 "federation/model.onnx" "$limbeck" export "$good" --from federation
refused 1 "student-int8/qat.onnx" "$limbeck" serve "$good"
refused 2 "joined no federation yet" "$limbeck" join "$good" --data-slice 0/2
refused 1 "an invite is one line" "$limbeck" join "$good" --data-slice 0/2 --invite nonsense
rm -rf "$dir/run"

# ---- data: every reader, every command ----
data() { # DATA-YAML WORDS [CODE]
    for command in train config distill export serve run; do
        set -- "$1" "$2" "${3:-1}"
        case $command in
            train) line="train $good --stage teacher" ;;
            config) line="config check $good" ;;
            *) line="$command $good" ;;
        esac
        # shellcheck disable=SC2086
        refused "$3" "$2" "$limbeck" $line --set "data=$1" --set "run=$dir/nothing"
    done
    refused "$3" "$2" "$limbeck" infer "$good" "$dir/none.onnx" --index 0 --set "data=$1"
    refused "$3" "$2" "$limbeck" eval "$good" "$dir/none.onnx" --set "data=$1"
    refused "$3" "$2" "$limbeck" join "$good" --data-slice 0/2 --invite x --set "data=$1" --set "run=$dir/nothing"
    find "$dir/nothing" -type f 2>/dev/null | grep . && fail "a refused command leaves files"
    rm -rf "$dir/nothing"
}
for format in idx cifar hapt folder hdf5; do
    mkdir -p "$dir/$format"
    "$make_data" $format "$dir/$format" || rm -rf "${dir:?}/$format"
done
data "{name: idx, path: $dir/none}" "none"
cp "$dir/idx/train-images-idx3-ubyte" "$dir/keep"
head -c 5000 "$dir/keep" >"$dir/idx/train-images-idx3-ubyte"
refused 1 "train-images-idx3-ubyte" "$limbeck" config check "$good" --set "data={name: idx, path: $dir/idx}"
printf 'GIF89a..........' >"$dir/idx/train-images-idx3-ubyte"
refused 1 "train-images-idx3-ubyte" "$limbeck" config check "$good" --set "data={name: idx, path: $dir/idx}"
cp "$dir/keep" "$dir/idx/train-images-idx3-ubyte"
head -c 50 "$dir/idx/train-labels-idx1-ubyte" >"$dir/keep" && cp "$dir/keep" "$dir/idx/train-labels-idx1-ubyte"
data "{name: idx, path: $dir/idx}" "train-labels-idx1-ubyte"
head -c 1000000 "$dir/cifar/data_batch_3.bin" >"$dir/keep" && cp "$dir/keep" "$dir/cifar/data_batch_3.bin"
data "{name: cifar, path: $dir/cifar}" "data_batch_3.bin"
rm -rf "$dir/cifar"
rm "$dir/hapt/RawData/gyro_exp03_user03.txt"
data "{name: hapt, path: $dir/hapt}" "gyro_exp03_user03.txt"
if [ -d "$dir/hdf5" ]; then
    data "{name: hdf5, path: $dir/hdf5/none.h5}" "none.h5"
    data "{name: hdf5, path: $dir/hdf5/arrays.h5, train_samples: nobody}" "nobody"
    head -c 3000 "$dir/hdf5/arrays.h5" >"$dir/hdf5/cut.h5"
    data "{name: hdf5, path: $dir/hdf5/cut.h5}" "cut.h5"
fi
if [ -d "$dir/folder" ]; then
    set -- --set "data={name: folder, path: $dir/folder, height: 12, width: 12, channels: 1}" --set split.train=30 --set split.validation=10 --set split.clients=20
    for file in train/dark/1.png train/light/2.jpg; do # a picture is opened when its turn comes
        cp "$dir/folder/$file" "$dir/keep"
        head -c 60 "$dir/keep" >"$dir/folder/$file"
        refused 1 "$file" "$limbeck" train "$good" --stage teacher --set split.train=0 --set split.validation=0 --set split.clients=0 "$1" "$2" --set "run=$dir/pictures"
        [ -e "$dir/pictures/teacher/model.onnx" ] && fail "a training without its pictures leaves a model"
        rm -rf "$dir/pictures"
        cp "$dir/keep" "$dir/folder/$file"
    done
    data "{name: folder, path: $dir/folder/train}" "folder/train"
fi

# ---- models: a whole run, then each file that a later stage reads, cut and damaged ----
"$limbeck" run "$good" >"$dir/out" 2>"$dir/err" || { fail "the good run"; cat "$dir/err"; exit 1; }
kinds='cut empty text'
damaged() { # FILE WORDS COMMAND...: the command refuses FILE when it is cut, emptied or filled with something else
    file=$1; words=$2; shift 2
    cp "$file" "$dir/keep"
    before=$(find "$dir/run" -type f | grep -v "/lock$" | sort | xargs cksum)
    for how in $kinds; do
        case $how in
            cut) head -c $(($(wc -c <"$dir/keep") * 2 / 3)) "$dir/keep" >"$file" ;;
            empty) : >"$file" ;;
            text) echo "this is a shopping list: eggs, milk, bread" >"$file" ;;
        esac
        refused 1 "$words" "$@"
        cp "$dir/keep" "$file"
        [ "$before" = "$(find "$dir/run" -type f | grep -v "/lock$" | sort | xargs cksum)" ] || fail "$*, $file $how: something was written"
    done
}
damaged "$dir/run/teacher/model.onnx" "teacher/model.onnx" "$limbeck" distill "$good" --fresh
damaged "$dir/run/teacher/model.onnx" "teacher/model.onnx" "$limbeck" eval "$good" "$dir/run/teacher/model.onnx"
damaged "$dir/run/teacher/model.onnx" "teacher/model.onnx" "$limbeck" infer "$good" "$dir/run/teacher/model.onnx" --index 0
damaged "$dir/run/student-int8/qat.onnx" "qat.onnx" "$limbeck" export "$good"
damaged "$dir/run/student-int8/qat.onnx" "qat.onnx" "$limbeck" serve "$good"
damaged "$dir/run/federation/model.onnx" "federation/model.onnx" "$limbeck" export "$good" --from federation
damaged "$dir/run/teacher/checkpoint.h5" "checkpoint.h5" "$limbeck" train "$good" --stage teacher
damaged "$dir/run/student/checkpoint.h5" "checkpoint.h5" "$limbeck" distill "$good"
damaged "$dir/run/federation/server/journal.db" "journal.db" "$limbeck" serve "$good"

# ---- no place to write: a file where a folder should be ----
touch "$dir/file"
for command in "train $good --stage teacher" "distill $good --set student.distill.teacher=$dir/run/teacher/model.onnx" "run $good" "federation invite $good --port 7000" \
    "serve $good --model $dir/run/student-int8/qat.onnx" "join $good --data-slice 0/2 --invite x"; do
    # shellcheck disable=SC2086
    refused 1 "$dir/file" "$limbeck" $command --set run="$dir/file/run"
done

# ---- a full disk ----
if mkdir "$dir/small" && mount -t tmpfs -o size=96k tmpfs "$dir/small" 2>/dev/null; then
    for command in "train $good --stage teacher --set teacher.model.hidden=[200]" "run $good --set teacher.model.hidden=[200]" \
        "distill $good --set student.model.channels=[64,0,64] --set student.distill.teacher=$dir/run/teacher/model.onnx"; do
        # shellcheck disable=SC2086
        refused 1 "[Nn]o space left" "$limbeck" $command --set run="$dir/small/run"
        find "$dir/small" -name '*.tmp*' -o -name 'model.onnx' -size -2 | grep . && fail "a full disk leaves half a file: $command"
        rm -rf "$dir/small/run"
    done
    umount "$dir/small"
else
    echo "no tmpfs may be mounted here: a full disk is left to the limit of file sizes in test_bad_input.sh"
fi

# ---- the port is taken ----
: >"$dir/server"
"$limbeck" serve "$good" --set run="$dir/other" --model "$dir/run/student-int8/qat.onnx" >"$dir/server" 2>/dev/null </dev/null &
server=$!
i=0
until grep -q '^listening on ' "$dir/server" || [ $i -ge 1200 ]; do sleep 0.05; i=$((i + 1)); done
port=$(sed -n 's/^listening on .*://p' "$dir/server")
refused 1 "port $port on 127.0.0.1 is in use" "$limbeck" serve "$good" --set run="$dir/third" --model "$dir/run/student-int8/qat.onnx" --set federation.server.port="$port"
refused 1 "is in use" "$limbeck" run "$good" --set federation.server.port="$port"
kill $server
wait $server 2>/dev/null
# nobody listens there any more
invite=$("$limbeck" federation invite "$good" --set run="$dir/other" --port "$port")
refused 75 "no server for 3 s" "$limbeck" join "$good" --data-slice 0/2 --invite "$invite" --set run="$dir/lonely"

# ---- no mpirun: said, and done by one process ----
PATH=$dir "$limbeck" run "$good" --set run="$dir/alone" --set launch.ranks=2 >"$dir/out" 2>"$dir/err" </dev/null || fail "run without mpirun: $(tail -2 "$dir/err")"
grep -q "one process, not 2: \(there is no mpirun on the PATH\|this program was built without MPI\)" "$dir/err" || fail "run without mpirun does not say so"
exit $bad
