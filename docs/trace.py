#!/usr/bin/python3
"""docs/trace.py - draw a stretch of a trace as SVG, as in docs/trace.svg.

    mpirun -n 2 limbeck train CONFIG.yaml --set train.threads=1 --set train.bucket_kb=64 --trace trace.json
    docs/trace.py trace.json STEP [STEPS] >docs/trace.svg

One row a thread of each rank; from the beginning of STEP of rank 0, STEPS (1) long.
"""
import json, sys
from xml.sax.saxutils import escape

COLOR = {'op': '#4c78a8', 'shard': '#9ecae9', 'sum': '#e45756', 'data': '#54a24b', 'update': '#b279a2', 'step': '#bab0ac', 'validation': '#eeca3b',
         'file': '#ff9da6', 'compile': '#d8b5a5'}
LEFT, WIDTH, ROW, GAP = 130, 1000, 16, 10


def main():
    events = json.load(open(sys.argv[1]))['traceEvents']
    spans = [e for e in events if e['ph'] == 'X']
    name = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name'] == 'thread_name'}
    wanted = 'step ' + sys.argv[2]
    first = next(e for e in spans if e['pid'] == 0 and e['name'] == wanted)
    begin, length = first['ts'] - 300, first['dur'] * (int(sys.argv[3]) if len(sys.argv) > 3 else 1) + 600
    scale, y, out = WIDTH / length, 30, []
    for lane in sorted(name):
        mine = sorted((e for e in spans if (e['pid'], e['tid']) == lane and e['ts'] + e['dur'] > begin and e['ts'] < begin + length),
                      key=lambda e: (e['ts'], -e['dur']))
        if not mine:
            continue
        open_until, deepest = [], 0
        out.append('<text x="4" y="%d">rank %d: %s</text>' % (y + 12, lane[0], escape(name[lane])))
        for e in mine:
            while open_until and open_until[-1] <= e['ts'] + 0.002:
                open_until.pop()
            depth = len(open_until)
            deepest = max(deepest, depth)
            open_until.append(e['ts'] + e['dur'])
            x0, x1 = max(0, e['ts'] - begin) * scale, min(length, e['ts'] + e['dur'] - begin) * scale
            of = e.get('args', {}).get('of')
            title = escape('%s%s, %.3f ms' % (e['name'], ' of ' + of if of else '', e['dur'] / 1000))
            out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s</title></rect>'
                       % (LEFT + x0, y + depth * ROW, max(x1 - x0 - 0.2, 0.4), ROW - 1, COLOR.get(e['cat'], '#888'), title))
            if x1 - x0 > 7 * len(e['name']):
                out.append('<text x="%.1f" y="%d" class="in">%s</text>' % (LEFT + x0 + 3, y + depth * ROW + 12, escape(e['name'])))
        y += (deepest + 1) * ROW + GAP
    ticks = ''.join('<text x="%.0f" y="18">%.0f ms</text>' % (LEFT + (300 + ms * 1000) * scale, ms) for ms in range(0, int((length - 600) / 1000) + 1, 5))
    print('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">' % (LEFT + WIDTH + 10, y))
    print('<title>One step of two ranks</title><style>.in { fill: #222; font-size: 10px }</style><rect width="100%" height="100%" fill="#fff"/>')
    print(ticks + '\n' + '\n'.join(out) + '\n</svg>')


if __name__ == '__main__':
    main()
