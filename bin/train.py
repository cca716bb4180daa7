"""Trains a method on a data set; the same command again resumes.

    python bin/train.py --flagfile=flags/methods/flexae.flags \\
        --flagfile=flags/datasets/mnist.flags --data_dir=DATA --workdir=runs/mnist
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import TrainConfig


def _run(config: TrainConfig) -> None:
    from flexae_tf.training.launch import train

    train(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, TrainConfig)


if __name__ == '__main__':
    main()
