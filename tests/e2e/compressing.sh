# tests/e2e/compressing.sh - what tests of `limbeck compress` share; read by them. They set limbeck, and dir, where c.yaml is; bad
# is 1 once something has failed.
bad=0
fail() { echo "FAILED: $*"; bad=1; }
# compress EXIT-CODE [--set ...]
compress() {
    want=$1; shift
    "$limbeck" compress "$dir/c.yaml" "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    [ $got -eq "$want" ] || { fail "limbeck compress $* -> exit $got, want $want"; tail -5 "$dir/err"; }
}
says() { grep -q -- "$1" "$dir/err" || { fail "nothing says '$1'"; tail -5 "$dir/err"; }; }
