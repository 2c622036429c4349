#!/bin/sh
# tests/core/edge/test_code_size.sh SOURCES BINARIES COMPILER FLAGS... - text of the runtime (not of the writer) with every kernel
# set of this processor and with one alone: at most 64,000 and 24,000 bytes. unpack.c, laid.c, within.c and describe.c are not
# counted: a program that reads no packed file, uses no weights that are laid out, sets memory no bound and asks nothing about a model
# does not link them. Flags: those of core/edge/CMakeLists.txt.
set -eu
src=$1 out=$2/code_size cc=$3
shift 3
[ "$(uname -m)" = x86_64 ] || { echo "skipped: limits are for x86-64"; exit 0; }
command -v size >/dev/null || { echo "skipped: no size (Debian: binutils)"; exit 0; }
mkdir -p "$out"
rm -f "$out"/*.o
bad=0
cd "$src"
measure() { # NAME LIMIT FLAGS
    name=$1 limit=$2
    shift 2
    for f in check crc32c info kernels kernels_avx2 kernels_avx512vnni kernels_avxvnni kernels_scalar open planes run trust; do
        "$cc" "$@" -DNDEBUG -ffp-contract=off -ffunction-sections -fdata-sections -std=gnu99 -I. -c -o "$out/$f.o" core/edge/$f.c
    done
    text=$(size "$out"/*.o | awk 'NR > 1 { n += $1 } END { print n }')
    echo "$name: $text bytes of text, limit $limit"
    [ "$text" -le "$limit" ] || bad=1
}
measure "all kernel sets" 64000 "$@"
for set in AVX512VNNI AVXVNNI AVX2; do
    measure "$set alone" 24000 "$@" -DLMB_EDGE_ONLY=1 "-DLMB_EDGE_$set=1"
done
exit $bad
