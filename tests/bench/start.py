#!/usr/bin/python3
"""tests/bench/start.py - from the start of the process to the end of its first training step, and the peak of its memory.

    start.py LIMBECK CONFIG.yaml [--rounds 5] [--seconds 1.5] [--set key=value ...]

Each round starts `limbeck train`, stops it after some seconds and reads the trace. Printed: medians of the time to the end
of the first step, of what lies before it, of the first step and of a usual one, and of the largest resident memory. One round
before them is not counted: it brings the data into the page cache. CONFIG.yaml must train for longer than `seconds`.
"""
import argparse, json, os, signal, statistics, subprocess, sys, tempfile, time


def once(a, folder):
    trace = os.path.join(folder, 'trace.json')
    command = [a.limbeck, 'train', a.config, '--fresh', '--trace', trace, '--trace-steps', '0', '--set', 'run=' + folder]
    for s in a.set:
        command += ['--set', s]
    began = time.monotonic()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(a.seconds)
    run.send_signal(signal.SIGINT)
    said = run.stderr.read().decode()
    _, status, used = os.wait4(run.pid, 0)
    if os.waitstatus_to_exitcode(status) != 3:
        sys.exit('limbeck was not stopped in a training:\n' + said)
    t = json.load(open(trace))
    steps = [e for e in t['traceEvents'] if e.get('cat') == 'step']
    zero = float(t['otherData']['monotonic seconds at 0']) - began
    first, usual = steps[0], statistics.median(e['dur'] for e in steps[1:])
    return zero + (first['ts'] + first['dur']) / 1e6, zero + first['ts'] / 1e6, first['dur'] / 1e6, usual / 1e6, used.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument('limbeck')
    p.add_argument('config')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--seconds', type=float, default=1.5)
    p.add_argument('--set', action='append', default=[])
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        once(a, folder)
        rounds = [once(a, folder) for _ in range(a.rounds)]
    median = [statistics.median(r[i] for r in rounds) for i in range(5)]
    print('to the end of the first step %.3f s (%.3f to %.3f): before it %.3f s, the step %.3f s, a usual one %.3f s; memory %.0f MB'
          % (median[0], min(r[0] for r in rounds), max(r[0] for r in rounds), *median[1:]))


if __name__ == '__main__':
    main()
