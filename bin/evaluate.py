"""Scores a trained run: Frechet distances of reconstructions and samples from test images.

python bin/evaluate.py --workdir=runs/mnist --features=inception --feature_layer=pool_3
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.programs import evaluate

if __name__ == '__main__':
    evaluate()
