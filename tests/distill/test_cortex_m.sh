#!/bin/sh
# tests/distill/test_cortex_m.sh SOURCES BINARIES MAKE_SAMPLES - C exports, compiled for a Cortex-M3 (no floats) and a
# Cortex-M4F, give the runtime's bytes on an emulated board without an operating system.
set -eu
src=$1/tests/distill/cortex_m
out=$2/cortex_m
cc=${CORTEX_M_CC:-arm-none-eabi-gcc}
command -v "$cc" >/dev/null || { echo "skipped: no $cc (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi)"; exit 0; }
command -v qemu-system-arm >/dev/null || { echo "skipped: no qemu-system-arm (Debian: qemu-system-arm)"; exit 0; }
echo 'int main(void) { return 0; }' | "$cc" -xc - --specs=nosys.specs -o /dev/null 2>/dev/null ||
    { echo "skipped: no C library for $cc (Debian: libnewlib-arm-none-eabi)"; exit 0; }
rm -rf "$out" && mkdir -p "$out"
"$3" "$out"
try() { # NAME BOARD COMPILER-FLAGS
    for part in "$1" "$1_test"; do
        # shellcheck disable=SC2086 # a list of words
        "$cc" $3 -mthumb -O2 -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Werror -c \
            -o "$out/$part.o" "$out/$part.c"
    done
    # The export itself asks for nothing but copying memory and the compiler's own arithmetic.
    if "${cc%gcc}nm" -u "$out/$1.o" | grep -v -E ' U (memcpy|memset|__aeabi_[a-z0-9]+)$'; then
        echo "FAILED: $1 needs more than a bare processor has"; exit 1
    fi
    # shellcheck disable=SC2086
    "$cc" $3 -mthumb -O2 -std=gnu11 -Wall -Wextra -Werror -I"$out" "-DSAMPLE=\"$1_sample.h\"" -nostartfiles \
        --specs=nosys.specs -T "$src/mps2.ld" -o "$out/$1-$2.elf" "$src/main.c" "$out/$1.o" \
        "$out/$1_test.o"
    got=$(qemu-system-arm -M "$2" -nographic -monitor none -serial none -semihosting-config enable=on,target=native \
        -kernel "$out/$1-$2.elf" </dev/null 2>&1) || true
    echo "$1 on $2: $got"
    [ "$got" = equal ] || exit 1
}
for name in small resnet8; do
    try $name mps2-an385 "-mcpu=cortex-m3"
    try $name mps2-an386 "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
done
