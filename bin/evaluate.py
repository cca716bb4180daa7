"""Scores a trained run's reconstructions and samples against test images, or any two sets.

python bin/evaluate.py --workdir=runs/mnist
python bin/evaluate.py --real=PICTURES --fake=samples.npz --output=scores.jsonl
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.cli import evaluate

if __name__ == '__main__':
    evaluate()
