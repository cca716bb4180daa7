"""Times iterations of a training on random examples, and the data pipeline alone.

python bin/benchmark.py --dataset=mnist --iterations=5
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import BenchmarkConfig


def _run(config: BenchmarkConfig) -> None:
    from flexae_tf.benchmark import benchmark

    benchmark(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, BenchmarkConfig)


if __name__ == '__main__':
    main()
