"""Samples from a run or an export, to a PNG grid or an .npz file.

python bin/sample.py --source=runs/mnist --num_samples=100 --output=samples.png
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import SampleConfig


def _run(config: SampleConfig) -> None:
    from flexae_tf.export import sample

    sample(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, SampleConfig)


if __name__ == '__main__':
    main()
