# tests/bench/search.sh - what the scripts that run `limbeck compress` have in common; read by them. They set limbeck,
# sources, folder, cifar.

quiet() { # COMMAND..., into the log of $run
    "$@" >>"$run/log" 2>&1 && return 0
    code=$?
    [ $code = 4 ] && { echo "the limits are not all met: $(tail -n 1 "$run/log")"; return 0; }
    echo "FAILED: $*; the end of $run/log:"
    tail -n 5 "$run/log"
    exit 1
}

# Of a front: a number of the teacher, or of a point.
of_teacher() { sed -n "s/^ \"teacher\": .*$2: \([-0-9.e+]*\).*/\1/p" "$1/compress/front.json"; } # RUN KEY
of_point() { grep "^  {\"point\": $2," "$1/compress/front.json" | sed -n "s/.*$3: \([-0-9.e+]*\).*/\1/p"; } # RUN POINT KEY
best() { sed -n 's/.*"best": \([0-9]*\).*/\1/p' "$1/compress/front.json"; } # RUN
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; } # A B
percent() { awk "BEGIN { printf \"%.2f %%\", 100 * $1 }"; } # SHARE
test_key='"test": {"accuracy"'

# Search until it ends; a search that has ended answers at once.
search() { # RUN CONFIG [OPTION...]
    run=$1 config=$2
    shift 2
    mkdir -p "$run"
    # shellcheck disable=SC2086 # EXTRA is a list
    quiet "$limbeck" compress "$config" --set "run=$run" --set "data.path=$cifar" "$@" ${EXTRA-}
}
