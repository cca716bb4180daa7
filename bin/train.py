"""Trains a method on a data set. The same command resumes.

    python bin/train.py --flagfile=flags/methods/flexae.flags \\
        --flagfile=flags/datasets/mnist.flags --data_dir=DATA --workdir=runs/mnist
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import train

if __name__ == '__main__':
    train()
