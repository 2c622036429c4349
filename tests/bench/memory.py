#!/usr/bin/python3
"""tests/bench/memory.py - the most memory that training holds at once, ours and PyTorch's: the networks of train_peer.py.

    memory.py BUILD [--models resnet8,resnet20] [--seconds 1.5] [--threads 2]

Printed: the peak of the resident memory of either process in MB (ours with 12 MB of pictures in memory, PyTorch's with one
batch), what PyTorch holds before it has a network, and the ratio of the two peaks.
"""
import argparse, os, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import train_peer


def peak(command, env=None):
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
    _, status, used = os.wait4(run.pid, 0)
    if status:
        sys.exit('failed: ' + ' '.join(command))
    return used.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('--models', default='resnet8,resnet20')
    p.add_argument('--seconds', type=float, default=1.5)
    p.add_argument('--threads', type=int, default=2)
    a = p.parse_args()
    python = os.environ.get('LMB_PEER_PYTHON', '/usr/bin/python3')
    empty = peak([python, '-c', 'import torch'], train_peer.TUNED)
    for name in a.models.split(','):
        ours = peak(train_peer.ours(a.build, name, a.seconds, a.threads))
        theirs = peak(train_peer.peer(name, a.seconds, a.threads), train_peer.TUNED)
        print('%-14s ours %4.0f MB, PyTorch %4.0f MB (%.0f without a network), ratio %.2f' % (name, ours, theirs, empty, ours / theirs), flush=True)


if __name__ == '__main__':
    main()
