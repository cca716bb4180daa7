"""Evaluates a trained run, or two sets of images.

python bin/evaluate.py --workdir=runs/mnist
python bin/evaluate.py --real=IMAGES --fake=samples.npz --output_file=scores.jsonl
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import evaluate

if __name__ == '__main__':
    evaluate()
