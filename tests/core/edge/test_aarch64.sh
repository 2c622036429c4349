#!/bin/sh
# tests/core/edge/test_aarch64.sh SOURCES BINARIES - core/edge, test_ops.c and test_products.c, cross-compiled for aarch64,
# give the bytes of the formulas on an emulated processor with sdot and on one without. Never timed: an emulator says
# nothing about speed.
set -eu
src=$1
out=$2/aarch64
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
command -v "$cc" >/dev/null || { echo "skipped: no $cc (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"; exit 0; }
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || { echo "skipped: no qemu-aarch64 (Debian: qemu-user)"; exit 0; }
mkdir -p "$out"
cd "$src"
flags="-O2 -static -I. -Itests/core/edge/cross -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror"
build() { # NAME COMPILER-FLAGS
    for test in ops products; do
        # shellcheck disable=SC2086 # lists of words
        "$cc" $flags $2 -std=gnu11 -o "$out/$1-$test" tests/core/edge/test_$test.c core/base/random.c core/edge/*.c -lm
    done
}
build all ""
build neon "-DLMB_EDGE_ONLY=1 -DLMB_EDGE_NEON=1"
ran=$("$qemu" -cpu max "$out/all-ops")
echo "$ran"
case $ran in *"neondot neon scalar"*) ;; *) echo "kernel sets with sdot: neondot neon scalar expected"; exit 1 ;; esac
ran=$("$qemu" -cpu cortex-a53 "$out/all-ops")
echo "$ran"
case $ran in *neondot*) echo "cortex-a53 has no sdot"; exit 1 ;; *"neon scalar"*) ;; *) exit 1 ;; esac
"$qemu" -cpu max "$out/all-products"
"$qemu" -cpu cortex-a53 "$out/all-products"
for test in ops products; do
    "$qemu" -cpu cortex-a53 "$out/neon-$test" >/dev/null
done
