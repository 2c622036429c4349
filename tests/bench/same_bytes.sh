#!/bin/sh
# tests/bench/same_bytes.sh LIMBECK SOURCES FOLDER RUN [CONFIG] - one trained integer network, every way to run it: a
# line for each with the bytes of logits that differ from the scalar runtime's on the 10,000 test images of CIFAR-10.
# RUN is a finished run (`limbeck distill` and `export`) of CONFIG, configs/cifar10/resnet8.yaml. IMAGES says how many
# of them emulated processors see (500), CIFAR where the data is, PYTHON which one has ONNX Runtime and numpy. What a
# machine lacks is left out, and said. Ends with 1 if a byte differs where none may.
set -eu
limbeck=$1 src=$2 out=$3 run=$4 config=${5:-$2/configs/cifar10/resnet8.yaml}
cifar=${CIFAR:-data/cifar-10-batches-bin} images=${IMAGES:-500} python=${PYTHON:-python3}
test=$cifar/test_batch.bin lmb=$run/student-int8/model.lmb bad=0
warnings="-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror"
edge="-O2 -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -I$src $warnings"
edge_c=$(echo "$src"/core/edge/*.c)
mkdir -p "$out"

# logits MODEL NAME [KERNELS]
logits() {
    "$limbeck" eval "$config" "$1" --set "data.path=$cifar" --set "run=$run" --logits "$out/$2.npy" \
        ${3:+--kernels "$3"} >"$out/log" 2>&1
}
# The numbers behind the header of a .npy file, whose length is its bytes 8 and 9.
floats() { tail -c +$((11 + $(od -An -j8 -N2 -tu2 "$1"))) "$1"; }
row() { printf '%-58s %6s %10s\n' "$1" "$2" "$3"; }
left_out() { row "$1" - "left out: $2"; }
# same NAME FILE IMAGES: are they the first bytes of the reference?
same() {
    bytes=$(($3 * row_bytes))
    differ=$(head -c $bytes "$out/reference" | cmp -l - "$2" 2>&1 | wc -l)
    [ "$(wc -c <"$2")" -eq $bytes ] || differ="$differ, and its length"
    row "$1" "$3" "$differ"
    [ "$differ" = 0 ] || bad=1
}
has() { command -v "$1" >/dev/null; }

row "bytes that differ from the runtime with kernels 'scalar'" images bytes
logits "$lmb" scalar scalar
floats "$out/scalar.npy" >"$out/reference"
row_bytes=$(($(wc -c <"$out/reference") / 10000))

logits "$run/student-int8/model-int8.onnx" integers
floats "$out/integers.npy" >"$out/got"
same "integers of the QDQ file, lowered by eval" "$out/got" 10000
for kernels in avx2 avxvnni avx512vnni neon neondot; do
    if logits "$lmb" kernels $kernels; then
        floats "$out/kernels.npy" >"$out/got"
        same "kernels '$kernels'" "$out/got" 10000
    else
        left_out "kernels '$kernels'" "this processor does not have them"
    fi
done

"$limbeck" export "$lmb" --to c --out "$out/c" --name model >"$out/log"
# shellcheck disable=SC2086 # lists of words
cc -O2 -std=c11 $warnings -DEXPORT_HEADER='"model.h"' -I"$out/c" -o "$out/c_export" \
    "$src/tests/bench/same_bytes.c" "$out/c/model.c"
"$out/c_export" "$test" 1 10000 "$out/got"
same "C export" "$out/got" 10000

# emulated NAME EMULATOR PROGRAM KERNELS
emulated() {
    # shellcheck disable=SC2086
    if $2 "$3" "$lmb" "$4" "$test" 1 "$images" "$out/got"; then
        same "$1" "$out/got" "$images"
    else
        row "$1" "$images" "did not run"
        bad=1
    fi
}
if has aarch64-linux-gnu-gcc && has qemu-aarch64; then
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc -static $edge -o "$out/aarch64" "$src/tests/bench/same_bytes.c" $edge_c -lm
    for kernels in neondot neon scalar; do
        emulated "aarch64, emulated, kernels '$kernels'" "qemu-aarch64 -cpu max" "$out/aarch64" $kernels
    done
else
    left_out "aarch64" "no aarch64-linux-gnu-gcc or no qemu-aarch64"
fi
if has arm-none-eabi-gcc && has qemu-arm; then
    # shellcheck disable=SC2086 # newlib asks the emulator for files
    arm-none-eabi-gcc -mcpu=cortex-a7 -mfpu=neon-vfpv4 -mfloat-abi=hard --specs=rdimon.specs $edge -o "$out/armv7" \
        "$src/tests/bench/same_bytes.c" $edge_c -lm
    emulated "armv7 (Cortex-A7), emulated, kernels 'scalar'" "qemu-arm -cpu cortex-a7" "$out/armv7" scalar
else
    left_out "armv7" "no arm-none-eabi-gcc or no qemu-arm"
fi

# The C export on a microcontroller without an operating system: a few images are part of its program.
few=4
array() { echo "static const uint8_t $1[] = {"; od -An -v -tu1 | sed 's/  */,/g; s/^,//; s/$/,/'; echo "};"; }
if has arm-none-eabi-gcc && has qemu-system-arm; then
    inputs=$(sed -n "s/^#define MODEL_INPUT \([0-9]*\).*/\1/p" "$out/c/model.h")
    {
        printf '#include "model.h"\n#define RUN model_run\n#define INPUT MODEL_INPUT\n#define OUTPUT MODEL_OUTPUT\n'
        echo "#define IMAGES $few"
        i=0
        while [ $i -lt $few ]; do
            tail -c +$((i * (inputs + 1) + 2)) "$test" | head -c "$inputs"
            i=$((i + 1))
        done | array images
        head -c $((few * row_bytes)) "$out/reference" | array answers
    } >"$out/c/sample.h"
    for board in "mps2-an385 cortex-m3" "mps2-an386 cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"; do
        # shellcheck disable=SC2086
        set -- $board
        machine=$1 cpu=$2
        shift 2
        arm-none-eabi-gcc -mcpu="$cpu" "$@" -mthumb -O2 -std=gnu11 -I"$out/c" -DSAMPLE='"sample.h"' -nostartfiles \
            --specs=nosys.specs -T "$src/tests/distill/cortex_m/mps2.ld" -o "$out/$cpu.elf" \
            "$src/tests/distill/cortex_m/main.c" "$out/c/model.c"
        got=$(qemu-system-arm -M "$machine" -nographic -monitor none -serial none \
            -semihosting-config enable=on,target=native -kernel "$out/$cpu.elf" </dev/null 2>&1) || true
        [ "$got" = equal ] && got=0 || bad=1
        row "C export on $cpu, emulated" $few "$got"
    done
else
    left_out "C export on Cortex-M" "no arm-none-eabi-gcc or no qemu-system-arm"
fi

# onnx NAME MODEL REFERENCE.npy [plain]
onnx() {
    "$python" "$src/tests/interop/compare_onnxruntime.py" "$2" "$3" "$test" exact ${4:+"$4"} >"$out/log" 2>&1 || bad=1
    said=$(sed -n 's/.*: \([0-9]*\) of [0-9]* logits differ.*/\1 logits/p' "$out/log")
    row "$1" 10000 "${said:-$(tail -n 1 "$out/log")}"
}
if ! "$python" -c 'import onnxruntime, numpy' 2>/dev/null; then
    left_out "ONNX Runtime" "$python has no onnxruntime"
    exit $bad
fi
onnx "ONNX Runtime, u8s8" "$run/student-int8/model-int8.onnx" "$out/scalar.npy"
# The same network with scales that are powers of two, in both types and with and without what ONNX Runtime fuses.
pot=$out/pot
mkdir -p "$pot"
cat >"$pot.yaml" <<END
run: $pot
data: {name: cifar, path: $cifar}
split: {train: 50000, seed: 1}
END
"$limbeck" quantize "$pot.yaml" "$run/student/model.onnx" --qat "{scales: power_of_two}" --out "$pot/pot.onnx" \
    >"$out/log" 2>&1 || { tail -n 3 "$out/log"; exit 1; }
"$limbeck" export "$pot/pot.onnx" --out "$pot/pot.lmb" >"$out/log" 2>&1
logits "$pot/pot.lmb" pot
for profile in pot ort-arm; do
    [ $profile = pot ] && type=u8 || type=s8
    "$limbeck" export "$pot/pot.onnx" --out "$pot/$type.onnx" --profile $profile >"$out/log" 2>&1
    onnx "ONNX Runtime, powers of two, $type" "$pot/$type.onnx" "$out/pot.npy"
    onnx "ONNX Runtime, powers of two, $type, not optimised" "$pot/$type.onnx" "$out/pot.npy" plain
done
exit $bad
