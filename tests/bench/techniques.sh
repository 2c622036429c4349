#!/bin/sh
# tests/bench/techniques.sh LIMBECK SOURCES FOLDER - all techniques together against each alone: the ResNet-56 for CIFAR-10
# (configs/cifar10/compress-resnet56.yaml) searched with channels, ranks and blocks, and with one of them only, by the
# same settings, as far as 3.5 points and without a last training. Then every point is timed in turns with all others,
# and a table says what the fastest of each takes at equal held-out accuracy: the shortest of its turns, for a machine
# may change between two speeds within seconds, and how much faster that is than the unpruned integers. The report of
# FOLDER/all shows the fronts. CIFAR and RESNET56 say where data and model are, TIMER which
# bench_infer_peer times, TURNS how often (9), EXTRA options for every search. Nothing else should run beside it.
# Stopped, the same command goes on; points are timed anew.
set -eu
limbeck=$1 sources=$2 folder=$3
cifar=${CIFAR:-data/cifar-10-batches-bin} resnet56=${RESNET56:-data/resnet56-cifar10.onnx}
config=$sources/configs/cifar10/compress-resnet56.yaml timer=${TIMER:-$sources/build/release/tests/bench_infer_peer}
techniques="all channels ranks blocks"
. "$sources/tests/bench/search.sh"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ -x "$timer" ] || { echo "there is no $timer; build it, or name it in TIMER"; exit 1; }

search_by() { # TECHNIQUE [OPTION...]
    to=$folder/$1
    shift
    search "$to" "$config" --set "compress.teacher.path=$resnet56" --set "compress.accuracy_drop_max=3.5 %" \
        --set compress.slack= --set compress.recover=null --set compress.finish=null --set compress.candidates=4 "$@"
}

others=
for name in $techniques; do
    case $name in
    all) search_by all ;;
    *)
        search_by "$name" --set "compress.moves=[$name]" --set "compress.table.file=$folder/all/compress/latency.jsonl"
        others="$others${others:+, }$folder/$name/compress/front.json"
        ;;
    esac
done
search_by all --set "compress.compare_front=[$others]"

# TURN TECHNIQUE POINT MICROSECONDS
for turn in $(seq "${TURNS:-9}"); do
    for name in $techniques; do
        for point in "$folder/$name"/compress/points/*/; do
            echo "$turn $name $(basename "$point") $(echo 0.12 | "$timer" int8 "$point/model.lmb" 1 1)"
        done
    done
done >"$folder/times"

# TECHNIQUE POINT ACCURACY, then the table.
for name in $techniques; do
    sed -n "s/^  {\"point\": \([0-9]*\),.*\"held_out\": {\"accuracy\": \([0-9.]*\),.*/$name \1 \2/p" \
        "$folder/$name/compress/front.json"
done | awk -v techniques="$techniques" '
    NR == FNR { right[$1, $2 + 0] = $3; next }
    { at = $2 SUBSEP ($3 + 0); if (!(at in us) || $4 < us[at]) us[at] = $4 }
    END {
        n = split(techniques, name, " ")
        printf "| held-out accuracy of at least |"
        for (i = 1; i <= n; i++) { printf " %s |", name[i]; line = line "---|" }
        printf "\n|---|%s\n", line
        for (level = 930; level >= 900; level -= 5) {
            printf "| %.1f %% |", level / 10
            for (i = 1; i <= n; i++) {
                least = us["all", 0]
                for (at in right) {
                    split(at, part, SUBSEP)
                    if (part[1] == name[i] && right[at] >= level / 1000 - 1e-9 && us[at] < least) least = us[at]
                }
                printf " %.0f us, %.2f times |", least, us["all", 0] / least
            }
            print ""
        }
    }' - "$folder/times"
