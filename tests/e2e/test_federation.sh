#!/bin/sh
# A federation as the people who run it see it: an admin's key, clients that wait for approval and for the signed roster,
# rounds, the status in the terminal and (when chromium is there) in a browser, a revocation, keys that change.
limbeck=$1
dir=$2/federation
rm -rf "$dir" && mkdir -p "$dir" || exit 1
pids=
fail() { echo "FAILED: $1"; shift; [ $# -eq 0 ] || tail -n 20 "$@"; [ -z "$pids" ] || kill $pids 2>/dev/null; exit 1; }
# Wait at most 20 s for words in a file.
says() { for i in $(seq 600); do grep -q "$1" "$2" 2>/dev/null && return 0; sleep 0.2; done; return 1; }
desk() { verb=$1; shift; "$limbeck" federation "$verb" "$@"; }

admin=$(desk admin-key "$dir/admin.key") || fail "no admin key"
[ "$(desk admin-key "$dir/admin.key")" = "$admin" ] || fail "the admin's key is not the same the second time"
[ "$(stat -c %a "$dir/admin.key")" = 600 ] || fail "others can read the admin's key"
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 600, test: 50, height: 8, width: 8, classes: 4}
split: {train: 200, validation: 100, clients: 300}
model: {name: mlp, hidden: [12]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.02}
federation:
  server: {address: 127.0.0.1, port: 0, rounds: 4, target: 2, minimum: 2, gather_s: 60, approval: manual, admin: $admin, status: {port: 0}}
  client: {give_up_s: 120, admin: $admin}
  local: {validation: 0.2, train: {epochs: 1, batch: 16, threads: 1, lr: 0.02}}
Y
"$limbeck" train "$dir/run.yaml" >"$dir/train.log" 2>&1 || fail "no model to begin with" "$dir/train.log"
desk list "$dir/run.yaml" >"$dir/none" 2>&1 && fail "a federation that was never served has clients"
grep -q "no federation was served there yet" "$dir/none" || fail "it does not say so" "$dir/none"
serve() {
    : >"$dir/serve.out"
    "$limbeck" serve "$dir/run.yaml" --model "$dir/run/model/model.onnx" "$@" >"$dir/serve.out" 2>"$dir/serve.err" &
    server=$!
    pids="$pids $server"
    says "^listening on" "$dir/serve.out" || fail "the server does not listen" "$dir/serve.err"
    port=$(sed -n 's/^listening on .*://p' "$dir/serve.out")
}
serve
grep -q "no status page" "$dir/serve.err" && { echo "skipped: built without libmicrohttpd"; kill $server; exit 0; }
page=$(sed -n 's/.*status: \(http[^ ]*\).*/\1/p' "$dir/serve.err")
page_port=$(echo "$page" | sed 's/.*:\([0-9]*\)\/.*/\1/')
clients=
for i in 0 1; do
    invite=$(desk invite "$dir/run.yaml" --port "$port") || fail "no invite"
    echo "$invite" >"$dir/invite"
    "$limbeck" join "$dir/run.yaml" --invite-file "$dir/invite" --data-slice $i/2 >"$dir/join$i.log" 2>&1 &
    clients="$clients $!"
    pids="$pids $!"
    says "waits for approval" "$dir/join$i.log" || fail "a client does not learn that it waits" "$dir/join$i.log"
done

# Approve one by number, one by fingerprint; nobody trains before the admin has signed.
desk list "$dir/run.yaml" >"$dir/list" || fail "no list"
[ "$(grep -c waiting "$dir/list")" = 2 ] || fail "two clients should wait" "$dir/list"
print=$(awk '$1 == 2 { print substr($3, 1, 8) }' "$dir/list")
desk approve "$dir/run.yaml" 1 "$print" >"$dir/approve" || fail "approve failed" "$dir/approve"
sleep 2 # the server looks twice a second at who is approved
grep -q "round 1 begins" "$dir/serve.err" && fail "a round began without a signed roster"
# The three steps with the key elsewhere; another's key is not taken.
desk export-roster "$dir/run.yaml" "$dir/roster" || fail "no roster"
desk admin-key "$dir/other.key" >"$dir/other"
desk sign-roster "$dir/roster" "$dir/forged" --key "$dir/other.key" >"$dir/signed" || fail "sign-roster failed" "$dir/signed"
desk import-roster "$dir/run.yaml" "$dir/forged" 2>"$dir/forged.err" && fail "a forged roster was taken"
grep -q "not signed by this federation's admin" "$dir/forged.err" || fail "no sentence for a forged roster" "$dir/forged.err"
# The folder alone knows whose signature counts, and takes no other word for it; a folder that knows nobody's asks.
state=$dir/run/federation/server
desk import-roster "$state" "$dir/forged" 2>"$dir/forged.err" && fail "a forged roster was taken by the folder"
desk import-roster "$state" "$dir/forged" --admin "$(cat "$dir/other")" 2>"$dir/forged.err" && fail "the folder took another admin"
grep -q "this federation's admin has the key $admin" "$dir/forged.err" || fail "no sentence for another admin" "$dir/forged.err"
desk sign "$state" --key "$dir/other.key" 2>"$dir/forged.err" && fail "another's key signed in the folder"
desk invite "$dir/run.yaml" --port 7100 --set federation.server.admin= --set "federation.server.state_dir=$dir/fresh" >"$dir/invite.fresh" || fail "no invite"
desk import-roster "$dir/fresh" "$dir/forged" 2>"$dir/forged.err" && fail "a folder took the roster of just anybody"
grep -q "whose signature counts? give --admin PUBLIC" "$dir/forged.err" || fail "no sentence for a first roster" "$dir/forged.err"
desk sign-roster "$dir/roster" "$dir/signed.roster" --key "$dir/admin.key" >"$dir/signed" || fail "sign-roster failed"
grep -q "^     2  " "$dir/signed" || fail "the admin does not see what is signed" "$dir/signed"
desk import-roster "$state" "$dir/signed.roster" || fail "import-roster failed"
desk import-roster "$dir/run.yaml" "$dir/signed.roster" 2>"$dir/again.err" && fail "a roster was taken twice"

says "^server: round 1 begins" "$dir/serve.err" || says "round 1 begins" "$dir/serve.err" || fail "no round after approval and signature" "$dir/serve.err"
desk status "$dir/run.yaml" --set federation.server.status.port="$page_port" >"$dir/status" || fail "no status"
grep -q "rounds are over" "$dir/status" || fail "the status does not tell" "$dir/status"
for c in $clients; do wait "$c" || fail "a client failed" "$dir/join0.log" "$dir/join1.log"; done
wait $server || fail "the server failed" "$dir/serve.err"
grep -q "roster 1: 2 clients, signed by the admin" "$dir/join1.log" || fail "a client worked without the roster" "$dir/join1.log"
desk status "$dir/run/federation/server" >"$dir/after" || fail "no status after the end"
grep -q "2 clients of round 4 with the model as it came: mean .* worst tenth" "$dir/after" || fail "nobody is told how clients fare" "$dir/after"
grep -q "4 rounds are over" "$dir/after" || fail "the journal does not know its rounds" "$dir/after"
desk list "$dir/run/federation/server" >"$dir/list" || fail "no list"
awk '$1 == 1 && $6 == 4 { found = 1 } END { exit !found }' "$dir/list" || fail "the list does not count rounds" "$dir/list"

# Revoked, it is told so and goes; the other changes its keys, and the server its own.
desk revoke "$dir/run.yaml" 2 >"$dir/revoke" || fail "revoke failed"
desk rotate "$dir/run.yaml" --overlap-days 1 >"$dir/rotate" || fail "rotate failed"
desk approve "$dir/run.yaml" 2 >"$dir/back" 2>&1 && fail "a revoked client was approved"
desk sign "$dir/run.yaml" --key "$dir/admin.key" >"$dir/sign" || fail "sign failed"
serve --set federation.server.rounds=5 --set federation.server.port="$port"
"$limbeck" join "$dir/run.yaml" --data-slice 1/2 >"$dir/join1.log" 2>&1 && fail "a revoked client took part"
grep -q "was revoked" "$dir/join1.log" || fail "a revoked client does not learn why" "$dir/join1.log"
"$limbeck" join "$dir/run.yaml" --data-slice 0/2 --rotate-keys >"$dir/join0.log" 2>&1 &
pids="$pids $!"
says "keys have changed" "$dir/join0.log" || fail "the client's keys did not change" "$dir/join0.log"
says "the server changes its key" "$dir/join0.log" || fail "the client did not learn the server's next key" "$dir/join0.log"

# A real browser looks at the page.
page=$(sed -n 's/.*status: \(http[^ ]*\).*/\1/p' "$dir/serve.err")
if command -v chromium >/dev/null; then
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/chromium" --virtual-time-budget=2000 \
        --screenshot="$dir/page.png" --window-size=900,1400 "$page" >"$dir/browser.log" 2>&1
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/chromium" --virtual-time-budget=2000 \
        --dump-dom "$page" >"$dir/page.html" 2>>"$dir/browser.log"
    [ -s "$dir/page.png" ] || fail "chromium shows no page" "$dir/browser.log"
    grep -q "<polyline" "$dir/page.html" || fail "the page has no curve" "$dir/page.html"
    grep -q "How clients fare" "$dir/page.html" || fail "the page does not tell how clients fare" "$dir/page.html"
    grep -q "worst tenth, %</h2>" "$dir/page.html" || fail "the page has no curve of the worst tenth" "$dir/page.html"
    grep -q "revoked" "$dir/page.html" || fail "the page has no clients" "$dir/page.html"
    browser="seen in chromium"
else
    browser="skipped: no chromium, the page was not looked at"
fi
kill $pids 2>/dev/null
wait
echo "approved, signed, trained, revoked, keys changed; page $browser"
