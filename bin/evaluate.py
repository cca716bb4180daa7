"""Scores a trained run: Frechet distances of reconstructions and samples from test images.

python bin/evaluate.py --workdir=runs/mnist --features=inception --feature_layer=pool_3
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import EvaluateConfig


def _run(config: EvaluateConfig) -> None:
    from flexae_tf.metrics.evaluate import evaluate

    evaluate(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, EvaluateConfig)


if __name__ == '__main__':
    main()
