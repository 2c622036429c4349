#!/bin/sh
# The systemd units of docs/examples: systemd reads them without complaint, and finds little that they leave open.
limbeck=$1
dir=$2/units
source=$3
command -v systemd-analyze >/dev/null || { echo "skipped: no systemd-analyze"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $1"; [ -z "$2" ] || cat "$2"; exit 1; }
for unit in limbeck-server limbeck-client; do
    sed "s|/usr/bin/limbeck|$limbeck|; /^Documentation=/d" "$source/docs/examples/$unit.service" >"$dir/$unit.service"
    SYSTEMD_UNIT_PATH="$dir:" systemd-analyze --man=no --recursive-errors=no verify "$dir/$unit.service" >"$dir/$unit.log" 2>&1 ||
        fail "$unit does not verify" "$dir/$unit.log"
    grep "$unit" "$dir/$unit.log" && fail "$unit has something to complain about" "$dir/$unit.log"
    score=$(systemd-analyze --no-pager security --offline=yes "$dir/$unit.service" 2>/dev/null | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
    [ -n "$score" ] || fail "no exposure level for $unit"
    awk -v s="$score" 'BEGIN { exit !(s <= 2.5) }' || fail "$unit leaves much open: exposure level $score, at most 2.5"
    echo "$unit: exposure level $score"
done
