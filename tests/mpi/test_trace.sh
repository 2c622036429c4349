#!/bin/sh
# `limbeck train --trace` and `limbeck distill --trace`: one file, a process for each rank, spans that nest, sums of buckets
# while the backward pass goes on. A training that was stopped is traced too.
limbeck=$1
dir=$2/trace
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 0; }
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/run.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 420, test: 100, height: 32, width: 32, classes: 4}
split: {validation: 60}
train: {threads: 1}
teacher: {model: {name: vgg, channels: [16, 16, 0, 32, 32, 0]}, train: {epochs: 2, batch: 128, threads: 2, bucket_kb: 1}}
student: {model: {name: vgg, channels: [8, 0, 8]}, train: {epochs: 1, threads: 1}, distill: {alpha: 0.5}}
Y
fail() { echo "FAILED: $*"; cat "$dir/log"; exit 1; }

# On a busy machine a bucket may have to wait until its step ends: one training of some has them while the backward
# pass goes on.
overlaps() {
    python3 - "$dir/train.json" <<'P'
import json, sys

events = json.load(open(sys.argv[1]))['traceEvents']
rows = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}
spans = [(e['pid'], rows[e['pid'], e['tid']], e['cat'], e['name'], e['ts'], e['ts'] + e['dur']) for e in events if e['ph'] == 'X']
for rank in 0, 1:
    over = [s for s in spans if s[0] == rank and s[1] == 'sums' and s[3].startswith('bucket')]
    ops = [s for s in spans if s[0] == rank and s[2] == 'op']
    if len({s[3] for s in over}) < 2 or not any(a[4] < s[5] and s[4] < a[5] for a in over for s in ops):
        sys.exit('rank %d sums no two buckets ahead, or none during a backward pass' % rank)
P
}
i=0
until : >"$dir/why"; mpirun -n 2 --oversubscribe --bind-to none "$limbeck" train "$dir/run.yaml" --stage teacher --set run="$dir/run-$i" \
    --trace "$dir/train.json" --trace-steps 3 >"$dir/log" 2>&1 && overlaps 2>"$dir/why"; do
    [ -s "$dir/why" ] || fail "training with --trace"
    i=$((i + 1))
    [ $i -lt 40 ] || fail "of 40 trainings: $(cat "$dir/why")"
done
mv "$dir/run-$i" "$dir/run"
"$limbeck" distill "$dir/run.yaml" --trace "$dir/distill.json" >"$dir/log" 2>&1 || fail "distillation with --trace"
if "$limbeck" train "$dir/run.yaml" --stage teacher --trace "$dir/none/of.json" >"$dir/log" 2>&1; then fail "a folder that is not there was accepted"; fi
grep -q "none/of.json" "$dir/log" || fail "no sentence names the file"
if "$limbeck" train "$dir/run.yaml" --stage teacher --trace "$dir/x.json" --trace-steps -1 >"$dir/log" 2>&1; then fail "-1 steps were accepted"; fi
if "$limbeck" train "$dir/run.yaml" --stage teacher --trace-steps 3 >"$dir/log" 2>&1; then fail "--trace-steps alone was accepted"; fi

"$limbeck" train "$dir/run.yaml" --stage teacher --set run="$dir/long" --set teacher.train.epochs=100000 --trace "$dir/stopped.json" >"$dir/log" 2>&1 &
i=0
while [ ! -s "$dir/long/teacher/history.jsonl" ] && [ $i -lt 1200 ]; do sleep 0.1; i=$((i + 1)); done
kill -INT $!
wait $!
[ $? -eq 3 ] || fail "a training that was stopped"

python3 - "$dir" <<'P' || fail "what the traces say"
import json, sys

def read(name):
    spans, rows = {}, {}
    for e in json.load(open('%s/%s.json' % (sys.argv[1], name)))['traceEvents']:
        if e['ph'] == 'X':
            spans.setdefault((e['pid'], e['tid']), []).append((e['ts'], e['ts'] + e['dur'], e['cat'], e['name']))
        elif e['name'] == 'thread_name':
            rows[e['pid'], e['tid']] = e['args']['name']
    assert set(spans) == set(rows), 'a lane without a name, or without spans'
    return spans, {v: k for k, v in rows.items() if k[0] == 0}, rows

def check_nesting(lane):
    """Spans of one lane contain each other or are apart; a nanosecond is lost to rounding."""
    parent = {}
    stack = []
    for s in sorted(lane, key=lambda s: (s[0], -s[1])):
        while stack and stack[-1][1] <= s[0] + 0.002:
            stack.pop()
        assert not stack or s[1] <= stack[-1][1] + 0.002, (s, stack[-1])
        parent.setdefault(s[2], set()).add(stack[-1][2] if stack else None)
        stack.append(s)
    return parent

spans, _, rows = read('train')
assert {p for p, _ in spans} == {0, 1}, 'ranks'
for rank in 0, 1:
    lanes = {rows[k]: v for k, v in spans.items() if k[0] == rank}
    assert {'training', 'worker 1', 'sums', 'loader 0'} <= set(lanes), lanes.keys()
    parent = check_nesting(lanes['training'])
    check_nesting(lanes['worker 1'])
    check_nesting(lanes['sums'])
    assert parent['op'] == {'shard'} and parent['shard'] == {'step'} and parent['update'] == {'step'}, parent
    assert parent['data'] == {'step'} and parent['step'] == {None}, parent
    assert ('validation' in parent) == ('file' in parent) == (rank == 0), 'rank 0 validates and writes'
    steps = [s for s in lanes['training'] if s[2] == 'step']
    assert [s[3] for s in steps] == ['step %d' % i for i in range(6)], steps
    ops = [s for name in ('training', 'worker 1') for s in lanes[name] if s[2] == 'op']
    assert all(s[0] < steps[2][1] for s in ops) and any(s[0] > steps[2][0] for s in ops), 'three steps have kernels'
    assert any('onv' in s[3] for s in ops), {s[3] for s in ops}

spans, row, _ = read('distill')
assert {p for p, _ in spans} == {0}
assert any(s[2] == 'op' for s in spans[row['training']])
check_nesting(spans[row['training']])
spans, row, _ = read('stopped')
assert sum(s[2] == 'step' for s in spans[row['training']]) >= 3
P
echo "traced"
