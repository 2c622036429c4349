#!/usr/bin/python3
"""tests/bench/busy.py - what training loses to a neighbour: one other busy process on a machine of two processors.

    busy.py BUILD [--model resnet8] [--rounds 5] [--seconds 2] [--processors 2] [--no-torch]

Each round runs, by turns and each alone and beside a process that only counts: ours with as many threads as processors, ours
with as many ranks of one thread, PyTorch (train_peer.py says how). Printed: medians of images a second, of busy / alone,
and of ranks / threads, with the smallest and largest. A fair share of two processors among three is 0.67.
"""
import argparse, os, statistics, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import train_peer

ROOT = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}


def beside_a_neighbour(command, env):
    neighbour = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
        return train_peer.output(command, env)
    finally:
        neighbour.kill()
        neighbour.wait()


def spread(values):
    return '%.2f (%.2f to %.2f)' % (statistics.median(values), min(values), max(values))


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('--model', default='resnet8')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--seconds', type=float, default=2)
    p.add_argument('--processors', type=int, default=2)
    p.add_argument('--no-torch', action='store_true')
    a = p.parse_args()
    n, ours = str(a.processors), lambda threads: train_peer.ours(a.build, a.model, a.seconds, threads)
    sides = {'ours, %s threads' % n: (ours(n), {}),
             'ours, %s ranks' % n: (['mpirun', '-n', n, '--oversubscribe', '--bind-to', 'none', *ours('1')], ROOT)}
    if not a.no_torch:
        sides['PyTorch'] = (train_peer.peer(a.model, a.seconds, n), train_peer.TUNED)
    alone, busy = {s: [] for s in sides}, {s: [] for s in sides}
    for _ in range(a.rounds):
        for side, (command, env) in sides.items():
            alone[side].append(train_peer.output(command, env))
            busy[side].append(beside_a_neighbour(command, env))
    for side in sides:
        print('%-16s alone %6.0f, busy %6.0f images/s, busy / alone %s'
              % (side, statistics.median(alone[side]), statistics.median(busy[side]), spread([b / x for b, x in zip(busy[side], alone[side])])))
    threads, ranks = list(sides)[:2]
    print('ranks / threads  %s' % spread([r / t for r, t in zip(alone[ranks], alone[threads])]))


if __name__ == '__main__':
    main()
