#!/bin/sh
# launch/gpu-pack and launch/gpu-check, as somebody uses them who borrows a GPU for minutes: packed here, unpacked
# elsewhere, and all that has to be right before: every file is there, Python's, too; without a GPU rows say so; on a
# played GPU (tests/core/cuda/played.c) the parts run whole; how rows end, and with them the exit code, is what is
# written at the top of gpu-check; what can not be asked for is refused with a sentence.
source=$1 build=$2 played=$4
dir=$3/gpu_check
rm -rf "$dir" && mkdir -p "$dir" || exit 1
dir=$(cd "$dir" && pwd)
fail() { echo "FAILED: $1"; shift; for f in "$@"; do echo "--- $f"; tail -n 25 "$f"; done; exit 1; }
export LMB_GPU_LOG="$dir/log" CUDA_VISIBLE_DEVICES=""
unset LMB_CUDA_MODULE LMB_GPU_DATA LMB_PEER_OPTIONS LMB_PEER_PYTHON

# ---- packed, unpacked elsewhere ----
mkdir -p "$dir/cifar-10-batches-bin"
head -c 20000 /dev/urandom >"$dir/cifar-10-batches-bin/data_batch_1.bin"
GZIP=-1 "$source/launch/gpu-pack" -d "$dir/cifar-10-batches-bin" -b 8000 -o "$dir" "$build" >"$dir/out" 2>&1 ||
    fail "gpu-pack" "$dir/out"
pieces=$(find "$dir/gpu-data" -type f | wc -l)
[ "$pieces" -ge 3 ] || fail "$pieces pieces of data" "$dir/out"
[ -z "$(find "$dir/gpu-data" -size +8000c)" ] || fail "a piece is larger than it should be"
mkdir "$dir/there" && tar -C "$dir/there" -xzf "$dir/gpu-pack.tar.gz" || exit 1
rm -r "$dir/gpu-pack" "$dir/gpu-pack.tar.gz"
pack=$dir/there/gpu-pack

# ---- every file that is named is there ----
grep -hv '^ *#' "$pack/launch/gpu-check" "$pack/launch/gpu-recipe" >"$dir/code"
for name in $(grep -oE '(tests|launch|configs)/[A-Za-z0-9_./-]+' "$dir/code" | sort -u); do
    case $name in */ | *_ | launch/gpu-pack | launch/gpu-tests) continue ;; esac # beginnings of names; of a build
    [ -e "$source/$name" ] || [ -e "$build/$name" ] || continue
    [ -e "$pack/$name" ] || fail "the pack has no $name"
done
for script in "$pack"/tests/mpi/*.sh; do
    for read in $(sed -n 's/^ *\. .*[/"]\([A-Za-z0-9_]*\.sh\).*/\1/p' "$script"); do
        [ -e "$pack/tests/mpi/$read" ] || fail "$script reads $read, which is not packed"
    done
done
for program in $(cut -d ' ' -f 2 "$pack/gpu.tests"); do
    [ -x "$pack/$program.bin" ] || echo "$program"
done >"$dir/missing"
[ -s "$dir/missing" ] && fail "tests are missing" "$dir/missing"
[ "$(wc -l <"$pack/gpu.tests")" -ge 12 ] || fail "tests are not listed" "$pack/gpu.tests"
python=$(command -v /usr/bin/python3 || command -v python3 || true)
if [ -n "$python" ]; then
    export LMB_PEER_PYTHON="$python"
    peer=$pack/tests/bench/train_peer_gpu.py
    "$python" "$peer" --help >"$dir/out" 2>&1 || fail "train_peer_gpu.py --help" "$dir/out"
    "$python" "$peer" . --models resnet8,nothing >"$dir/out" 2>&1 && fail "a network that is not there"
    grep -q "no work is named nothing; there are resnet8," "$dir/out" || fail "no sentence for a network" "$dir/out"
    "$python" "$peer" . --small --limit 1 >"$dir/out" 2>&1 || fail "no time for the peer" "$dir/out"
    [ "$(grep -c '^not begun' "$dir/out")" = 2 ] || fail "the peer began without time" "$dir/out"
    "$python" -c 'import sys; sys.path.insert(0, sys.argv[1])
from train_peer_gpu import judge
got = [judge(1.2, 1.2, False, True), judge(1.19, 1.2, False, True), judge(3, 1.2, True, True),
       judge(1, 1.2, True, True), judge(3, 1.2, False, False)]
sys.exit(got != ["ok", "below", "late", "below", "not run"])' "$pack/tests/bench" || fail "the bar of a ratio"
fi

# check EXIT NAME [OPTION...]: the pack's gpu-check ends so; its table is $dir/table.
check() {
    want=$1 what=$2
    shift 2
    "$pack/launch/gpu-check" "$@" >"$dir/said" 2>&1 </dev/null
    code=$?
    sed -n '/^---- GPU check/,$p' "$dir/said" >"$dir/table"
    [ $code = "$want" ] || fail "$what: exit code $code instead of $want" "$dir/said"
}
has() { grep -qE "$1" "$dir/table" || fail "no row: $1" "$dir/said"; }
# the quick ones of the tests are enough here
grep -E '/(gpu_input|gpu_unmask) ' "$pack/gpu.tests" >"$dir/tests" && cp "$dir/tests" "$pack/gpu.tests"

# ---- without a GPU, and a Python without PyTorch, as far as that is quick ----
[ -z "$python" ] || printf '#!/bin/sh\nexec "%s" -S "$@"\n' "$python" >"$dir/python"
chmod +x "$dir/python" && LMB_PEER_PYTHON=$dir/python
check 4 "no GPU" -s look test measure times plans peer several
has '^not run   train/gpu_input +no CUDA device'
has '^not run   e2e/gpu_real +no CUDA device'
has '^not run   bench_cuda +no CUDA device'
has '^not run   times +no CUDA device'
has '^not run   plans +no CUDA device'
has '^not run   beside PyTorch +.*(no CUDA device|no Python)'
has '^not run   several GPUs +0 GPUs'
grep -E '^(ok|FAILED|late|below|figure) ' "$dir/table" | grep -v '^ok        limbeck doctor' &&
    fail "rows without a GPU" "$dir/said"
has '^verdict   not all was done: [0-9]+ not run, 1 ok$'

# ---- no time ----
check 4 "no time" -t 1 look test measure times peer
grep -vE '^(not begun|verdict|----) ' "$dir/table" && fail "something was begun without time" "$dir/said"
has '^verdict   not all was done: [0-9]+ not begun$'

# ---- on a played GPU; what e2e/gpu does there is not done again ----
cat >"$pack/tests/e2e/test_gpu.sh" <<'STUB'
[ -x "$1" ] && [ -d "$2" ] && [ -e "$3/gpu-94.yaml" ] && [ -e "$3/wrn28-10.yaml" ] && [ -e "$4" ] && [ "$5" = real ]
STUB
export LMB_CUDA_MODULE="$played" LMB_PEER_PYTHON="$python"
export LMB_PEER_OPTIONS="--models distillation --rounds 1"
check 0 "a rehearsal" -s look test measure times plans peer
has '^ok        train/gpu_input +[0-9]+ checks'
has '^ok        federated/gpu_unmask +[0-9]+ checks'
has '^ok        e2e/gpu_real '
has '^figure    copy +[0-9.]+ GB/s'
has '^figure    product +[0-9.e-]+ TFLOP/s'
has '^figure    train small, .* images/s; [0-9.e-]+ GFLOP and [0-9.e-]+ MB an image: [0-9]+ % of the product, '
has '^figure    ResNet-8, integers '
has '^figure    times of small '
has '^figure    chains of small, fast '
has '^verdict   passed: 4 ok, [0-9]+ figure$'
if [ -n "$python" ]; then
    has '^figure    train ResNet-8 -> ResNet-8, small, bf16, beside PyTorch +ours [0-9]+ images/s'
fi

# ---- compute-sanitizer's rows: clean, errors, out of time ----
mkdir "$dir/bin"
cat >"$dir/bin/compute-sanitizer" <<'STUB'
#!/bin/sh
# --tool NAME ...
case $2 in memcheck) exit 0 ;; racecheck) exit 99 ;; esac
exit 124
STUB
chmod +x "$dir/bin/compute-sanitizer"
old=$PATH
PATH=$dir/bin:$PATH
check 1 "sanitizers" sanitize
PATH=$old
has '^ok        compute-sanitizer memcheck, short list +1 clean'
has '^FAILED    compute-sanitizer racecheck, others .*errors in .*: train/gpu_input'
has '^late      compute-sanitizer initcheck, short list .*out of time: federated/gpu_unmask'
has '^verdict   FAILED: 2 FAILED, 2 late, 2 ok$'

# ---- CIFAR-10 to 94 %: data in pieces, a limbeck that only says so ----
config=$pack/configs/cifar10/gpu-94.yaml
mv "$config" "$dir/gpu-94.yaml"
check 4 "no recipe" recipe
has '^not run   CIFAR-10 to 94 % +there is no configs/cifar10/gpu-94.yaml'
mv "$dir/gpu-94.yaml" "$config"
check 4 "no data" recipe
has '^not run   CIFAR-10 to 94 % +CIFAR-10 is not there; launch/gpu-pack -d'
mkdir "$dir/there/gpu-data" && cp "$dir"/gpu-data/*.[13]-of-* "$dir/there/gpu-data/"
# of copies that were broken off, and a path with a space
touch "$dir/there/gpu-data/0.1-of-3.part" "$dir/there/gpu-data/0.1-of-9999999999"
mv "$dir/there/gpu-data" "$dir/there/other data"
export LMB_GPU_DATA="../other data"
check 4 "a piece is missing there" recipe
has "^not run .* piece 2 of $pieces of the data is not in ../other data"
cp "$dir"/gpu-data/*.2-of-* "$dir/there/other data/"
check 1 "a limbeck that knows no such data, but they are put together" recipe
grep -q "can not\|do not make an archive" "$dir/table" && fail "a path with a space" "$dir/said"
rm "$dir/there/other data/"*.2-of-* && mv "$dir/there/other data" "$dir/there/gpu-data"
unset LMB_GPU_DATA
check 4 "a piece is missing" recipe
has "^not run .* piece 2 of $pieces of the data is not in ../gpu-data"
cp "$dir"/gpu-data/* "$dir/there/gpu-data/"
cat >"$pack/launch/limbeck" <<'STUB'
#!/bin/sh
for word; do
    case $word in data.path=*) cmp -s "${word#*=}/data_batch_1.bin" "$DATA" || { echo "other data"; exit 1; } ;; esac
done
echo "epoch 1/3  loss 1.2518  accuracy 95.42 %  validation 93.99 % (best)  524 images/s  0.5 s" >&2
[ -z "$GOOD" ] || echo "epoch 2/3  loss 0.5904  accuracy 97.08 %  validation $GOOD % (best)  834 images/s" >&2
[ -z "$BROKEN" ] || { echo "limbeck: broken" >&2; exit 1; }
echo "model: test accuracy 93.80 % (95 % interval 93.91 to 94.50)"
STUB
export DATA="$dir/cifar-10-batches-bin/data_batch_1.bin" GOOD="" BROKEN=""
check 3 "93.99 %" recipe
has '^below     CIFAR-10 to 94 % +93.99 % at best in .* s; test accuracy 93.80 %'
GOOD=94.10
check 0 "94.1 %" recipe
has '^ok        CIFAR-10 to 94 % +validation 94.10 % after [0-9.]+ s, bar 60 s; test accuracy 93.80 %'
BROKEN=yes
check 1 "broken" recipe
has '^FAILED    CIFAR-10 to 94 % +exit code 1 .* broken; see '

# ---- what can not be asked for ----
refused() { # WORDS COMMAND...
    words=$1
    shift
    "$@" >"$dir/said" 2>&1 </dev/null
    code=$?
    [ $code = 2 ] || fail "exit code $code, not 2 with: $words" "$dir/said"
    grep -q -e "$words" "$dir/said" || fail "it does not say: $words" "$dir/said"
}
refused "there is no part 'everything'; there are: build look" "$pack/launch/gpu-check" look everything
refused "-t 0 leaves nothing to do" "$pack/launch/gpu-check" -t 0 look
refused "-t takes a number, not '5x'" "$pack/launch/gpu-check" -t 5x
refused "-t takes a number from 1 to 9999999, not '010'" "$pack/launch/gpu-check" -t 010 look
refused "-t takes a number from 1 to 9999999, not '12345678'" "$pack/launch/gpu-check" -t 12345678
refused "^usage: launch/gpu-check " "$pack/launch/gpu-check" -q
refused "can not write the log to /dev/null/log" env LMB_GPU_LOG=/dev/null/log "$pack/launch/gpu-check" look
mkdir -p "$dir/bare/launch" && cp "$source"/launch/gpu-* "$dir/bare/launch/"
refused "nothing is built in .* and this is no pack" "$dir/bare/launch/gpu-check" look
refused "nothing is built in build/release" "$dir/bare/launch/gpu-pack"
# a build without CUDA: said before anything is built or packed (cmake only says so)
printf '#!/bin/sh\nmkdir -p build/release && echo "NOT compiled: no nvcc on the PATH" >build/release/cuda.txt\n' \
    >"$dir/bin/cmake"
chmod +x "$dir/bin/cmake"
refused "CUDA is NOT compiled: no nvcc on the PATH: install the toolkit" env PATH="$dir/bin:$PATH" \
    "$dir/bare/launch/gpu-check" build
mkdir -p "$dir/bare/build/release/launch" && cp "$dir/bin/cmake" "$dir/bare/build/release/launch/limbeck"
refused "CUDA was not compiled in build/release, .* no nvcc" "$dir/bare/launch/gpu-pack"
# a program that is missing makes no pack; folders are those of where one stands
mkdir -p "$dir/half/launch" "$dir/half/tests" && cp "$dir/bin/cmake" "$dir/half/launch/limbeck"
echo "compiled for sm_90" >"$dir/half/cuda.txt"
printf 'add_test("%s" "%s")\nset_tests_properties("%s" PROPERTIES LABELS "gpu")\n' core/gpu_x "$dir/half/tests/gpu_x" \
    core/gpu_x >"$dir/half/tests/CTestTestfile.cmake"
(cd "$dir" && refused "half has no tests/bench_train_peer: run " "$source/launch/gpu-pack" half) || exit 1
[ -e "$dir/half/gpu-pack.tar.gz" ] && fail "a pack without its programs"
refused "there is no $dir/nothing" "$source/launch/gpu-pack" -d "$dir/nothing" -o "$dir" "$build"
refused "-b takes a number of bytes" "$source/launch/gpu-pack" -b 0 "$build"
rm -r "$dir"
