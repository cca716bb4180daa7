"""Times trainings on random examples, variants of one, metrics, or the Inception network.

python bin/benchmark.py --dataset=mnist --iterations=5
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import benchmark

if __name__ == '__main__':
    benchmark()
