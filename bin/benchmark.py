"""Times iterations of a training on random examples, and the data pipeline alone.

python bin/benchmark.py --dataset=mnist --iterations=5
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.cli import benchmark

if __name__ == '__main__':
    benchmark()
