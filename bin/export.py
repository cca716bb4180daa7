"""Exports a trained run as a SavedModel that needs only TensorFlow.

python bin/export.py --workdir=runs/mnist
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import export

if __name__ == '__main__':
    export()
