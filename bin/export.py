"""Exports a trained run as a SavedModel that needs TensorFlow alone.

python bin/export.py --workdir=runs/mnist
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.cli import export

if __name__ == '__main__':
    export()
