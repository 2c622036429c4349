#!/bin/sh
# From a trained model to a device and back: integers, reference, signature, C source, a program against the installed
# library; drift, samples worth a label, and an incremental update with them.
#     test_deploy.sh LIMBECK BINARIES EXAMPLE_EDGE_MONITOR SOURCES INSTALL COMPILER     the last two: commands with words
limbeck=$1
dir=$2/deploy
edge=$3
src=$4 install=$5 cc=$6
rm -rf "$dir" && mkdir -p "$dir" || exit 1
bad=0
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; bad=1; }
must() { "$@" >>"$dir/log" 2>&1 || { echo "FAILED: $*"; tail -n 5 "$dir/log"; exit 1; }; }
refused() { # CODE WORDS COMMAND...
    code=$1; words=$2; shift 2
    "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    if [ $got -ne "$code" ] || ! grep -q -- "$words" "$dir/err"; then
        fail "$* -> exit $got (want $code, $words)" "$dir/err"
    fi
}
cat >"$dir/m.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 400, test: 100, classes: 4, height: 12, width: 12, channels: 3, noise: 0.3}
model: {name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}
train: {epochs: 3, batch: 32, threads: 1, lr: 0.05}
update:
  data: {name: synthetic, train: 300, test: 10, classes: 4, height: 12, width: 12, channels: 3, noise: 0.9, seed: 5}
  list: $dir/label.csv
  share: 2
  train: {epochs: 2, batch: 16, threads: 1, lr: 0.01}
Y
must "$limbeck" train "$dir/m.yaml"
cp "$dir/run/model/model.onnx" "$dir/mine.onnx" # as docs/compress.md has it
must "$limbeck" quantize "$dir/m.yaml" "$dir/mine.onnx" # with all of the 400 that there are, where 1,000 are usual
refused 2 "has 400, so give 1 to 400" "$limbeck" quantize "$dir/m.yaml" "$dir/mine.onnx" --calibration 1000 --out "$dir/x.onnx"
must "$limbeck" export "$dir/mine.qat.onnx" --out "$dir/net.lmb"

# reference, then signature: signed last, because it covers the rest
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/net.lmb" --part train --samples 300 --out "$dir/net.lmb"
tail -n 1 "$dir/log" | grep -q "300 samples of the train part; the model is surer" || fail "nobody says that learnt samples flatter" "$dir/log"
must "$limbeck" sign "$dir/net.lmb" --key "$dir/sign.key" --release 7
key=$(sed -n 's/.*public key //p' "$dir/log")
must "$limbeck" sign "$dir/net.lmb" --check "$key" --minimum 7
refused 1 "8 is the oldest" "$limbeck" sign "$dir/net.lmb" --check "$key" --minimum 8
refused 2 "would go back" "$limbeck" sign "$dir/net.lmb" --key "$dir/sign.key" --release 6
"$limbeck" inspect "$dir/net.lmb" >"$dir/out" 2>&1
grep -q "^a reference for" "$dir/out" || fail "inspect is silent about the reference" "$dir/out"
grep -q "^release 7" "$dir/out" && grep -q "signed by $key" "$dir/out" || fail "inspect is silent about the signature" "$dir/out"
cp "$dir/net.lmb" "$dir/touched.lmb"
printf x | dd of="$dir/touched.lmb" bs=1 seek=2000 conv=notrunc 2>/dev/null
refused 1 "no trusted key" "$limbeck" sign "$dir/touched.lmb" --check "$key"

# the examples, compiled against what is installed; one runs what the key's owner signed, and nothing else
# shellcheck disable=SC2086 # lists of words
must $install --component edge --prefix "$dir/usr"
if ! command -v pkg-config >/dev/null; then
    echo "left out: no pkg-config to build the example with"
else
    PKG_CONFIG_PATH=$(dirname "$(find "$dir/usr" -name limbeck-edge.pc)")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2086,SC2046
    must $cc -Wall -Wextra -Werror "$src/docs/examples/edge.c" $(pkg-config --cflags --libs limbeck-edge) -o "$dir/edge"
    # shellcheck disable=SC2086,SC2046
    must $cc -Wall -Wextra -Werror "$src/docs/examples/edge_trusted.c" $(pkg-config --cflags --libs limbeck-edge libsodium) -o "$dir/trusted"
    head -c 4320 /dev/urandom >"$dir/pixels" # 10 of 3 x 12 x 12
    "$dir/trusted" "$dir/net.lmb" "$dir/pixels" >"$dir/plainly" 2>"$dir/err" || fail "the example" "$dir/err"
    "$dir/trusted" "$dir/net.lmb" "$dir/pixels" "$key" >"$dir/answers" 2>"$dir/err" || fail "the example with a key" "$dir/err"
    "$dir/edge" "$dir/net.lmb" <"$dir/pixels" | cmp - "$dir/answers" || fail "the example of 30 lines answers otherwise"
    refused 1 "usage: edge MODEL" "$dir/edge" "$dir/nothing.lmb"
    refused 1 "not a .lmb" "$dir/edge" "$dir/pixels"
    "$edge" "$dir/net.lmb" "$dir/begun.mon" <"$dir/pixels" >"$dir/counted" 2>"$dir/err" || fail "the other example" "$dir/err"
    [ "$(wc -l <"$dir/answers")" -eq 10 ] && cmp "$dir/answers" "$dir/plainly" && cmp "$dir/answers" "$dir/counted" ||
        fail "the examples do not answer alike" "$dir/answers"
    must "$limbeck" export "$dir/net.lmb" --out "$dir/all.lmb" --laid avx512vnni,avxvnni,avx2,neondot,neon
    "$dir/trusted" "$dir/all.lmb" "$dir/pixels" >"$dir/laid" 2>"$dir/err" || fail "the example with weights laid out" "$dir/err"
    cmp "$dir/answers" "$dir/laid" || fail "weights that are laid out answer otherwise" "$dir/laid"
    refused 1 "no trusted key" "$dir/trusted" "$dir/touched.lmb" "$dir/pixels" "$key"
    refused 1 "no trusted key" "$dir/trusted" "$dir/net.lmb" "$dir/pixels" "$(echo "$key" | tr 0-9a-f 1-9a-f0)"
    refused 1 "usage: edge_trusted" "$dir/trusted" "$dir/net.lmb" "$dir/pixels" abc
    # it remembers the last release, and goes back to none before
    must "$limbeck" sign "$dir/net.lmb" --key "$dir/sign.key" --release 9 --out "$dir/nine.lmb"
    must "$dir/trusted" "$dir/net.lmb" "$dir/pixels" "$key" "$dir/last"
    must "$dir/trusted" "$dir/nine.lmb" "$dir/pixels" "$key" "$dir/last"
    [ "$(cat "$dir/last")" = 9 ] || fail "the example has not noted release 9" "$dir/last"
    refused 1 "9 is the oldest" "$dir/trusted" "$dir/net.lmb" "$dir/pixels" "$key" "$dir/last"
    must "$dir/trusted" "$dir/nine.lmb" "$dir/pixels" "$key" "$dir/last"
    for held in none 9x '9\n12' -1 +9 ' 9' 18446744073709551616 '' '\n' 9000000000000000000000000000; do
        # shellcheck disable=SC2059 # \n is meant
        printf -- "$held" >"$dir/last"
        refused 1 "not a file with the number of a release" "$dir/trusted" "$dir/nine.lmb" "$dir/pixels" "$key" "$dir/last"
    done
    ln -s round "$dir/round" # one that is there and can not be opened
    refused 1 "not a file with the number of a release" "$dir/trusted" "$dir/nine.lmb" "$dir/pixels" "$key" "$dir/round"
    refused 1 "cannot read $dir/nothing.lmb" "$dir/trusted" "$dir/nothing.lmb" "$dir/pixels"
    refused 1 "cannot read $dir/nothing" "$dir/trusted" "$dir/net.lmb" "$dir/nothing"
    for at in 96 65 64 1; do # bytes from the end: the signer's key, then the signature
        head -c -$at "$dir/net.lmb" >"$dir/touched.lmb"
        tail -c $at "$dir/net.lmb" | head -c 1 | tr '\000-\377' '\001-\377\000' >>"$dir/touched.lmb"
        tail -c $((at - 1)) "$dir/net.lmb" >>"$dir/touched.lmb"
        refused 1 "no trusted key" "$dir/trusted" "$dir/touched.lmb" "$dir/pixels" "$key"
    done
fi

# the model as C source
must "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c"
[ -s "$dir/c/net.c" ] && [ -s "$dir/c/net.h" ] || fail "no C source"
if command -v cc >/dev/null; then
    printf '#include "net.h"\nint main(void) { return net_selftest(); }\n' >"$dir/c/main.c"
    must cc -std=c99 -pedantic -Wall -Wextra -Werror -o "$dir/selftest" "$dir/c/main.c" "$dir/c/net.c" "$dir/c/net_test.c"
    must "$dir/selftest"
    # files of two networks do not go together; nor is one replaced where the others can not be
    must "$limbeck" quantize "$dir/m.yaml" "$dir/mine.onnx" --calibration 50 --out "$dir/q50.onnx"
    must "$limbeck" export "$dir/q50.onnx" --out "$dir/q50.lmb"
    must "$limbeck" export "$dir/q50.lmb" --to c --out "$dir/c50" --name net
    cc -std=c99 -c -I"$dir/c50" -include "$dir/c50/net.h" -o "$dir/x.o" "$dir/c/net.c" 2>"$dir/err" && fail "the header of another network is taken"
    grep -q "net.h is of another network than net.c: export both again" "$dir/err" || fail "a wrong header is not named" "$dir/err"
    cp "$dir/c50/net.h" "$dir/net.h" && rm "$dir/c50/net_test.c" && mkdir "$dir/c50/net_test.c"
    refused 1 "net_test.c: is no file" "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c50" --name net
    cmp -s "$dir/net.h" "$dir/c50/net.h" && [ ! -e "$dir/c50/net.h.new" ] || fail "a header is replaced alone"
    # and its counters: without .lmb, heap or libm the same as the runtime's, but for the times
    must "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c" --name mine
    must cc -std=c99 -pedantic -Wall -Wextra -Werror -I"$src" -I"$dir/c" "$src/docs/examples/firmware_monitor.c" "$dir/c/mine.c" \
        "$src/core/edge/monitor.c" "$src/core/edge/monitor_check.c" "$src/core/edge/monitor_file.c" "$src/core/edge/crc32c.c" -o "$dir/counts"
    head -c 17280 /dev/urandom >"$dir/pixels" # 40 of 3 x 12 x 12
    "$dir/counts" <"$dir/pixels" >"$dir/firmware.mon" && "$edge" "$dir/net.lmb" "$dir/runtime.mon" <"$dir/pixels" >"$dir/counted" || fail "counting"
    tail -c +697 "$dir/firmware.mon" >"$dir/a" && tail -c +697 "$dir/runtime.mon" | cmp - "$dir/a" || fail "a C export counts otherwise"
    refused 4 "1 of 1 devices" "$limbeck" monitor "$dir/firmware.mon" --against "$dir/net.lmb" --latency-max "1 s"
    grep -q "latency  *not measured.*beyond" "$dir/out" || fail "what nobody measured is kept" "$dir/out"
    grep -q "model  *[0-9a-f]*, release 7$" "$dir/out" || fail "a C export does not say what it is" "$dir/out"
fi
refused 2 "is the model itself" "$limbeck" quantize "$dir/m.yaml" "$dir/mine.onnx" --out "$dir/./mine.onnx"
refused 2 "net.lmb is a .lmb, made of integers" "$limbeck" quantize "$dir/m.yaml" "$dir/net.lmb"
refused 2 "net.lmb is a .lmb, made of integers" "$limbeck" export "$dir/net.lmb" --out "$dir/x.onnx"
# 704 bytes whose C source would be gigabytes: a table of 16384 x 16384 pixels
base64 -d <<B | gzip -dc >"$dir/wide.lmb"
H4sIAAAAAAACA+v08XXi5ZLiYmRgYOiaa1B4gIkBDFiAGCTm5+jr+jZB53IDRJgBKs0Q4uoXfMHovcMBKD8BSvsHBCtcZAgVdmCE8GH6Av1CFC
ZsLNpxACrOAKUrGCgEDhDMCBdosCdXnhFVXoEY69kZGf6jizEiQUKAA6ifkQL9Ix0AADuM4/DAAgAA
B
refused 1 "wide.lmb has 536870912 numbers as weights, input and output" "$limbeck" export "$dir/wide.lmb" --to c --out "$dir/c"
refused 2 "net.lmb: what is it to become?" "$limbeck" export "$dir/net.lmb"
refused 2 "must be c" "$limbeck" export "$dir/net.lmb" --to rust --out "$dir/c"
refused 2 "no prefix of C names" "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c" --name 2nd

# packed: with all that is in it, signed as it travels, and plain again for whoever needs it so
"$limbeck" export "$dir/net.lmb" --out "$dir/small.lmb" --packed >"$dir/out" 2>"$dir/err" || fail "packing" "$dir/err"
grep -q "small.lmb has no signature any more.*limbeck sign" "$dir/err" || fail "a signature goes in silence" "$dir/err"
refused 1 "not signed" "$limbeck" sign "$dir/small.lmb" --check "$key"
must "$limbeck" sign "$dir/small.lmb" --key "$dir/sign.key" --release 8
must "$limbeck" sign "$dir/small.lmb" --check "$key" --minimum 8
refused 1 "older than 9" "$limbeck" sign "$dir/small.lmb" --check "$key" --minimum 9
refused 2 "would go back" "$limbeck" sign "$dir/small.lmb" --key "$dir/sign.key" --release 7
"$limbeck" inspect "$dir/small.lmb" >"$dir/out" 2>&1
grep -q "^packed: " "$dir/out" && grep -q "signed by $key" "$dir/out" || fail "inspect is silent about a packed file's signature" "$dir/out"
cp "$dir/small.lmb" "$dir/touched.lmb"
printf x | dd of="$dir/touched.lmb" bs=1 seek=2000 conv=notrunc 2>/dev/null
refused 1 "no trusted key" "$limbeck" sign "$dir/touched.lmb" --check "$key"
must "$limbeck" export "$dir/small.lmb" --to c --out "$dir/c2" --name net
cmp "$dir/c/net.c" "$dir/c2/net.c" || fail "another C source from the packed file"
refused 2 "is for .lmb files" "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c" --packed
refused 2 "is for --to c" "$limbeck" export "$dir/net.lmb" --out "$dir/x.lmb" --packed --name x
# a profile that would do nothing, or not what it says
refused 2 "has the same integers whatever the profile" "$limbeck" export "$dir/mine.qat.onnx" --out "$dir/x.lmb" --profile tensorrt
refused 2 "is for ONNX files" "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c" --profile pot
refused 1 "mine.onnx is not quantised" "$limbeck" export "$dir/mine.onnx" --out "$dir/x.onnx" --profile tensorrt
refused 1 "no layer has weights of 4 bits" "$limbeck" export "$dir/mine.qat.onnx" --out "$dir/x.onnx" --profile int4
refused 1 "is 100, its .mean., where" "$limbeck" export "$dir/mine.qat.onnx" --out "$dir/x.onnx" --profile universal
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/small.lmb" --part test --out "$dir/packed.mon"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/small.lmb" --out "$dir/packed.lmb" # packed stays packed
"$limbeck" inspect "$dir/packed.lmb" >"$dir/out" 2>&1
grep -q "^packed: " "$dir/out" && grep -q "^a reference for" "$dir/out" || fail "a reference has unpacked the file" "$dir/out"
# weights of 4 bits: packed from the graph or from the file it is the same, and the same network to those who monitor
must "$limbeck" quantize "$dir/m.yaml" "$dir/mine.onnx" --qat "{bits: 4}" --out "$dir/four.onnx"
must "$limbeck" export "$dir/four.onnx" --out "$dir/four.lmb"
must "$limbeck" export "$dir/four.onnx" --out "$dir/four-a.lmb" --packed
must "$limbeck" export "$dir/four.lmb" --out "$dir/four-b.lmb" --packed
cmp "$dir/four-a.lmb" "$dir/four-b.lmb" || fail "packed in two ways"
[ "$(wc -c <"$dir/four-a.lmb")" -lt "$(wc -c <"$dir/four.lmb")" ] || fail "packing has not made a file of 4 bits smaller"
"$limbeck" inspect "$dir/four-a.lmb" | grep -q "weights of 4 bits" || fail "packing has widened the weights"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/four.lmb" --out "$dir/four.lmb"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/four-a.lmb" --out "$dir/four.mon"
must "$limbeck" monitor "$dir/four.mon" --against "$dir/four.lmb"

# laid out for kernel sets that this machine need not have, signed with that, and without again
must "$limbeck" export "$dir/net.lmb" --out "$dir/laid.lmb" --laid avx2,neon
"$limbeck" inspect "$dir/laid.lmb" >"$dir/out" 2>&1
grep -q "^weights laid out for avx2 ([0-9]* bytes), neon ([0-9]* bytes)$" "$dir/out" || fail "inspect is silent about what is laid out" "$dir/out"
grep -q "NOT the weights" "$dir/out" && fail "other weights are laid out" "$dir/out"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/net.lmb" --samples 40 --out "$dir/again.lmb"
for gone in laid again; do
    grep -q "$gone.lmb has no signature any more" "$dir/log" || fail "the signature of $gone.lmb goes in silence" "$dir/log"
done
must "$limbeck" export "$dir/laid.lmb" --out "$dir/back.lmb" --laid ""
must "$limbeck" export "$dir/net.lmb" --out "$dir/plain.lmb" --laid ""
cmp "$dir/back.lmb" "$dir/plain.lmb" || fail "laid out and back is another file"
must "$limbeck" export "$dir/laid.lmb" --out "$dir/back.lmb" --packed
must "$limbeck" export "$dir/net.lmb" --out "$dir/plain.lmb" --packed
cmp "$dir/back.lmb" "$dir/plain.lmb" || fail "a packed file keeps what was laid out"
must "$limbeck" sign "$dir/laid.lmb" --key "$dir/sign.key" --release 8
must "$limbeck" sign "$dir/laid.lmb" --check "$key"
"$limbeck" inspect "$dir/laid.lmb" 2>&1 | grep -q "^weights laid out for avx2" || fail "signing drops what is laid out"
refused 2 "can not be laid out for 'mmx'" "$limbeck" export "$dir/net.lmb" --out "$dir/x.lmb" --laid avx2,mmx
refused 2 "named twice" "$limbeck" export "$dir/net.lmb" --out "$dir/x.lmb" --laid neon,neon
refused 2 "give one" "$limbeck" export "$dir/net.lmb" --out "$dir/x.lmb" --laid neon --packed
refused 2 "laid is for .lmb files" "$limbeck" export "$dir/net.lmb" --to c --out "$dir/c" --laid neon

# two devices: one sees what the model was made for, the other does not
other="--set data.noise=0.9 --set data.seed=5 --set data.train=300"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/net.lmb" --part test --out "$dir/same.mon"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/net.lmb" --out "$dir/held.mon" # what it has not learnt, if nobody says
tail -n 1 "$dir/log" | grep -q "held.mon: 100 samples of the test part$" || fail "a reference is of learnt samples" "$dir/log"
must "$limbeck" monitor "$dir/m.yaml" --set "split={train: 300, validation: 90}" --reference "$dir/net.lmb" --out "$dir/held.mon"
tail -n 1 "$dir/log" | grep -q "held.mon: 90 samples of the validation part$" || fail "a reference is not of the validation part" "$dir/log"
must "$limbeck" monitor "$dir/m.yaml" --set "split={train: 300, validation: 90}" --set compress.held_out=test --reference "$dir/net.lmb" --out "$dir/held.mon"
tail -n 1 "$dir/log" | grep -q "held.mon: 100 samples of the test part$" || fail "a reference is of a part that the teacher has learnt" "$dir/log"
grep -q "^beware: " "$dir/log" && fail "the test part is called strange" "$dir/log"
heart="--set run=$dir/heart --set data.noise=0.95 --set data.train=80 --set train.epochs=60"
# shellcheck disable=SC2086 # a list of words
{
    must "$limbeck" train "$dir/m.yaml" $heart # by heart
    must "$limbeck" quantize "$dir/m.yaml" $heart "$dir/heart/model/model.onnx" --calibration 80 --out "$dir/heart.qat.onnx"
    must "$limbeck" export "$dir/heart.qat.onnx" --out "$dir/heart.lmb"
    must "$limbeck" monitor "$dir/m.yaml" $heart --part train --reference "$dir/heart.lmb" --out "$dir/heart.mon"
}
grep -q "^beware: beside this reference the samples of the test part are strange (certainty: .*if the model has learnt the train part" "$dir/log" ||
    fail "nobody says that a reference is of samples learnt by heart" "$dir/log"
# shellcheck disable=SC2086 # a list of words
must "$limbeck" monitor "$dir/m.yaml" $other --part train --reference "$dir/net.lmb" --out "$dir/other.mon"
must "$limbeck" monitor "$dir/same.mon" --against "$dir/net.lmb"
must "$limbeck" monitor "$dir/same.mon" --against "$dir/small.lmb"
tail -n 12 "$dir/log" | grep -q "release 7; the reference is the same model in another release" || fail "another release is not named" "$dir/log"
# another model's counters are not compared, nor is what is no file; the others are, and are listed
must "$limbeck" quantize "$dir/m.yaml" "$dir/run/model/model.onnx" --calibration 7 --out "$dir/q7.onnx"
must "$limbeck" export "$dir/q7.onnx" --out "$dir/second.lmb"
must "$limbeck" monitor "$dir/m.yaml" --reference "$dir/second.lmb" --part test --out "$dir/second.mon"
refused 5 "3 of 5 files could not be compared.*1 is beyond" "$limbeck" monitor "$dir/nope.mon" "$dir/same.mon" "$dir/second.mon" "$dir/m.yaml" \
    "$dir/other.mon" --against "$dir/net.lmb" --label "$dir/both.csv"
grep -q "^not compared: .*nope.mon" "$dir/out" && grep -q "^not compared: .*second.mon: counted was model" "$dir/out" &&
    grep -q "same.mon: .*as it should be" "$dir/out" && grep -q "other.mon: .*drifted" "$dir/out" || fail "a bad file silences others" "$dir/out"
grep -q "other.mon" "$dir/both.csv" || fail "no list beside a bad file"
# a reference that does not say what it is of: two models among the devices are no fleet of one
if [ -x "$dir/counts" ]; then
    sed -i 's/^#define MINE_MODEL.*/#define MINE_MODEL 0/' "$dir/c/mine.h"
    sed -i 's/^#if MINE_MODEL != .*/#if 0/' "$dir/c/mine.c"
    must cc -std=c99 -I"$src" -I"$dir/c" "$src/docs/examples/firmware_monitor.c" "$dir/c/mine.c" "$src/core/edge/monitor.c" \
        "$src/core/edge/monitor_check.c" "$src/core/edge/monitor_file.c" "$src/core/edge/crc32c.c" -o "$dir/counts"
    "$dir/counts" <"$dir/pixels" >"$dir/untold.mon" || fail "counting what is not told"
    refused 5 "1 of 2 files" "$limbeck" monitor "$dir/same.mon" "$dir/second.mon" --against "$dir/untold.mon"
    grep -q "reference does not say what it is of" "$dir/out" || fail "nothing is said of an untold reference" "$dir/out"
    refused 4 "1 of 1 devices" "$limbeck" monitor "$dir/untold.mon" --against "$dir/net.lmb"
    grep -q "model  *not told" "$dir/out" || fail "nothing is said of untold counters" "$dir/out"
fi
refused 4 "1 of 2 devices" "$limbeck" monitor "$dir/same.mon" "$dir/other.mon" --against "$dir/net.lmb" --label "$dir/both.csv"
grep -q "other.mon: 300 predictions, drifted" "$dir/out" || fail "no drift is seen" "$dir/out"
refused 4 "1 of 1 devices" "$limbeck" monitor "$dir/other.mon" --against "$dir/net.lmb" --label "$dir/label.csv"
refused 4 "1 of 1 devices" "$limbeck" monitor "$dir/same.mon" --against "$dir/net.lmb" --latency-max "0.001 us"
# one that has only begun does not silence the others; no reference of a handful
head -c 4320 /dev/zero | "$edge" "$dir/net.lmb" "$dir/begun.mon" >"$dir/answers" 2>"$dir/err" || fail "the example" "$dir/err"
must "$limbeck" monitor "$dir/begun.mon" "$dir/same.mon" --against "$dir/net.lmb"
grep -q "begun.mon: 10 predictions, too few to say" "$dir/log" || fail "nothing is said of few predictions" "$dir/log"
refused 2 "must end in .lmb" "$limbeck" monitor "$dir/m.yaml" --reference "$dir/net.lmb" --out "$dir/x.txt"
refused 2 "a reference needs 30" "$limbeck" monitor "$dir/m.yaml" --set data.test=20 --part test --reference "$dir/net.lmb" --out "$dir/few.mon"
must "$limbeck" export "$dir/mine.qat.onnx" --out "$dir/bare.lmb"
refused 2 "has no reference" "$limbeck" monitor "$dir/same.mon" --against "$dir/bare.lmb"
[ "$(wc -l <"$dir/label.csv")" -gt 20 ] || fail "few samples are worth a label" "$dir/label.csv"

# a device's own program: answers, and counters that can be compared
head -c 43200 /dev/zero >"$dir/images" # 100 of 3 x 12 x 12
"$edge" "$dir/net.lmb" "$dir/device.mon" <"$dir/images" >"$dir/answers" 2>"$dir/err" || fail "the example" "$dir/err"
[ "$(wc -l <"$dir/answers")" -eq 100 ] || fail "the example has not answered each image" "$dir/answers"
refused 4 "1 of 1 devices" "$limbeck" monitor "$dir/device.mon" --against "$dir/net.lmb"
grep -q "latency  *p50 at most [0-9.]*[1-9]" "$dir/out" || fail "the example has measured nothing" "$dir/out"
refused 2 "no prediction is done in no time" "$limbeck" monitor "$dir/device.mon" --against "$dir/net.lmb" --latency-max "0 ms"
refused 1 "not a .lmb file" "$edge" "$dir/m.yaml" "$dir/device.mon"

# an update with them
must "$limbeck" config check "$dir/m.yaml"
"$limbeck" train "$dir/m.yaml" --continue >"$dir/out" 2>"$dir/err" || fail "no update" "$dir/err"
grep -q "new samples and" "$dir/err" && grep -q "^new samples: .* before, .* after" "$dir/out" || fail "an update without figures" "$dir/out"
[ -s "$dir/run/model-updated/model.onnx" ] || fail "the update has left no model"
must "$limbeck" quantize "$dir/m.yaml" "$dir/run/model-updated/model.onnx" --calibration 100 --out "$dir/q2.onnx"
# of a model with 80 % zeros: they are there afterwards, when the next training begins with what the update left
cat >"$dir/s.yaml" <<Y
run: $dir/sparse
data: {name: synthetic, train: 400, test: 100, classes: 4, height: 12, width: 12, channels: 3, noise: 0.3}
student:
  model: {name: lenet, mean: 100, scale: 0.02}
  train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
  prune: {method: magnitude, sparsity: 0.8, train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}}
Y
must "$limbeck" distill "$dir/s.yaml"
mkdir "$dir/sparse/model" && cp "$dir/sparse/student/model.onnx" "$dir/sparse/model"
for k in 1 2; do
    "$limbeck" train "$dir/m.yaml" --continue --set "run=$dir/sparse" >"$dir/out" 2>"$dir/err" || fail "no update of a sparse model" "$dir/err"
    grep -q "model-updated: holding 80.00 % of the weights at zero" "$dir/err" || fail "update $k does not hold 80 % at zero" "$dir/err"
    cp "$dir/sparse/model-updated/model.onnx" "$dir/sparse/model" && rm -r "$dir/sparse/model-updated"
done
# the same again is done already; a list that has changed is another update, and so are other weights
"$limbeck" train "$dir/m.yaml" --continue >"$dir/out" 2>"$dir/err" || fail "an update that was done" "$dir/err"
grep -q "done already" "$dir/err" || fail "a finished update was trained again" "$dir/err"
# and the updated model compressed again: in a folder of its own, with what was measured before
cat "$dir/m.yaml" - >"$dir/c.yaml" <<Y
compress:
  teacher: $dir/run/model/model.onnx
  held_out: test
  accuracy_drop_max: "60 %"
  steps: 1
  batches: 2
  probe: 16
  samples: 64
  calibration: 32
  tune: {epochs: 1, batch: 32, lr: 0.02, clip: 1, threads: 1}
Y
refused 2 "goes on from an earlier .limbeck compress. of this run" "$limbeck" compress "$dir/c.yaml" --refresh
must "$limbeck" compress "$dir/c.yaml"
journal=$(cksum <"$dir/run/compress/journal.jsonl")
"$limbeck" compress "$dir/c.yaml" --refresh >"$dir/out" 2>"$dir/err" || fail "no refresh" "$dir/err"
grep -q "the teacher is $dir/run/model-updated/model.onnx; [0-9]* new samples join 400 old ones; results go to $dir/run/compress-1" "$dir/err" || fail "nothing says what is refreshed" "$dir/err"
[ -s "$dir/run/compress-1/model.lmb" ] || fail "the refresh has left no model"
[ -e "$dir/run/compress-1/latency.jsonl" ] && fail "a refresh has measured into a table of its own"
[ "$journal" = "$(cksum <"$dir/run/compress/journal.jsonl")" ] || fail "a refresh has touched the search before"
again=$(cksum <"$dir/run/compress-1/journal.jsonl")
must "$limbeck" compress "$dir/c.yaml" --refresh
[ "$again" = "$(cksum <"$dir/run/compress-1/journal.jsonl")" ] || fail "a finished refresh went on"
# one's own file, and no `model` to train first: an update begins with what the search compresses, as it is
right() { sed -n "s/.*test $1 \([0-9.]*\) %.*/\1/p" "$2" | head -1; }
own="--set run=$dir/own --set model= --set compress.teacher=$dir/mine.onnx"
refused 2 "has no .model." "$limbeck" config check "$dir/m.yaml" --set model=
# shellcheck disable=SC2086 # a list of words
"$limbeck" config check "$dir/c.yaml" $own >"$dir/out" 2>"$dir/err" || fail "an update of one's own file is not sound" "$dir/err"
grep -q "update is sound; it begins with the teacher of .compress." "$dir/out" || fail "nothing says what an update begins with" "$dir/out"
"$limbeck" eval "$dir/m.yaml" "$dir/mine.onnx" >"$dir/plainly" 2>"$dir/err"
# a file that a section names is that section's model, pixels and all, wherever the command line names it
cp "$dir/mine.onnx" "$dir/shifted.onnx"
shifted="{name: onnx, path: $dir/shifted.onnx, mean: 90}"
"$limbeck" eval "$dir/m.yaml" --set "model=$shifted" >"$dir/shifted" 2>"$dir/err" || fail "no evaluation of a section" "$dir/err"
[ "$(right accuracy "$dir/shifted")" != "$(right accuracy "$dir/plainly")" ] || fail "the mean of a section changes nothing"
for section in model teacher.model student.model compress.teacher; do
    "$limbeck" eval "$dir/m.yaml" "$dir/./shifted.onnx" --set "$section=$shifted" >"$dir/out" 2>"$dir/err"
    [ "$(right accuracy "$dir/out")" = "$(right accuracy "$dir/shifted")" ] || fail "the file of $section is another model: $(right accuracy "$dir/out") %" "$dir/err"
    grep -q "as $section of the configuration says" "$dir/err" || fail "nobody says that $section describes the file" "$dir/err"
    "$limbeck" eval "$dir/m.yaml" "$dir/mine.onnx" --set "$section=$shifted" >"$dir/out" 2>"$dir/err"
    [ "$(right accuracy "$dir/out")" = "$(right accuracy "$dir/plainly")" ] || fail "another file is taken for that of $section"
done
"$limbeck" quantize "$dir/m.yaml" "$dir/shifted.onnx" --set "compress.teacher=$shifted" --calibration 50 >"$dir/out" 2>"$dir/err"
grep -q "accuracy $(right accuracy "$dir/shifted") % before" "$dir/out" || fail "quantize takes the bare file" "$dir/out"
grep -q "limbeck export $dir/shifted.qat.onnx" "$dir/err" || fail "quantize does not say what its file is for" "$dir/err"
# shellcheck disable=SC2086
"$limbeck" train "$dir/c.yaml" --continue $own >"$dir/out" 2>"$dir/err" || fail "no update of one's own file" "$dir/err"
[ -n "$(right "part:" "$dir/out")" ] && [ "$(right "part:" "$dir/out")" = "$(right accuracy "$dir/plainly")" ] ||
    fail "an update begins with $(right part: "$dir/out") %, its file has $(right accuracy "$dir/plainly") %"
# shellcheck disable=SC2086
must "$limbeck" compress "$dir/c.yaml" --refresh $own --set "compress.table.file=$dir/run/compress/latency.jsonl"
[ -s "$dir/own/compress-1/model.lmb" ] || fail "the refresh of one's own file has left no model"
# numbers of two devices, and nothing that tells them apart
refused 1 "has samples of 2 devices" "$limbeck" train "$dir/m.yaml" --continue --again --set "update.list=$dir/both.csv"
cp "$dir/label.csv" "$dir/kept.csv"
sed -i '$d' "$dir/label.csv"
refused 2 "not those which model-updated has learnt" "$limbeck" compress "$dir/c.yaml" --refresh
refused 2 "new samples: " "$limbeck" train "$dir/m.yaml" --continue
# with these samples a further update, from what the first has left; when it is done, it is done
must "$limbeck" train "$dir/m.yaml" --continue --again
cmp -s "$dir/run/model-updated/model.onnx" "$dir/run/model-updated-2/model.onnx" && fail "the second update is the first"
second=$(cksum <"$dir/run/model-updated-2/model.onnx")
"$limbeck" train "$dir/m.yaml" --continue --again >"$dir/out" 2>"$dir/err" || fail "a second update that was done" "$dir/err"
grep -q "done already" "$dir/err" || fail "a finished second update was trained again" "$dir/err"
[ -e "$dir/run/model-updated-3" ] && fail "there is a third update without new samples"
"$limbeck" train "$dir/m.yaml" --continue >"$dir/out" 2>"$dir/err" || fail "the last update" "$dir/err"
grep -q "done already" "$dir/err" || fail "--continue has left the last update" "$dir/err"
must "$limbeck" compress "$dir/c.yaml" --refresh --set compress.accuracy_drop_max="90 %"
[ -s "$dir/run/compress-2/model.lmb" ] || fail "the second refresh has left no model"
rm -r "$dir/run/model-updated-2" # from the first one's weights it is the same again; from others it would not be
must "$limbeck" train "$dir/m.yaml" --continue --again
[ "$second" = "$(cksum <"$dir/run/model-updated-2/model.onnx")" ] || fail "the second update, done anew, is another"
cp -r "$dir/run" "$dir/chain"
cp "$dir/chain/model/model.onnx" "$dir/chain/model-updated/model.onnx"
rm -r "$dir/chain/model-updated-2"
must "$limbeck" train "$dir/m.yaml" --continue --again --set "run=$dir/chain"
[ "$second" != "$(cksum <"$dir/chain/model-updated-2/model.onnx")" ] || fail "the second update does not begin with the first"
rm -r "$dir/run/model-updated-2"
refused 2 "continue --again" "$limbeck" train "$dir/m.yaml" --again
mv "$dir/kept.csv" "$dir/label.csv"
cp "$dir/run/model-updated/model.onnx" "$dir/run/model/model.onnx"
refused 2 "begins with: " "$limbeck" train "$dir/m.yaml" --continue
must "$limbeck" train "$dir/m.yaml" --continue --fresh
echo "number,why" >"$dir/label.csv"
refused 2 "names no sample" "$limbeck" train "$dir/m.yaml" --continue --fresh
printf 'number\n300\n' >"$dir/label.csv"
refused 1 "0 .. 299" "$limbeck" train "$dir/m.yaml" --continue --fresh
refused 1 "0 .. 299" "$limbeck" config check "$dir/m.yaml"
refused 1 "nothing.csv" "$limbeck" config check "$dir/m.yaml" --set "update.list=$dir/nothing.csv"
refused 1 "they must be alike" "$limbeck" config check "$dir/m.yaml" --set update.list= --set update.data.height=10
refused 1 "train it first" "$limbeck" train "$dir/m.yaml" --continue --set "run=$dir/elsewhere"
exit $bad
