"""Samples from a run or an exported SavedModel to an image grid or an .npz file.

python bin/sample.py --source=runs/mnist --num_samples=100 --output_file=samples.png
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import sample

if __name__ == '__main__':
    sample()
