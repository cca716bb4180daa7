"""Runs the experiments: now, the choice of a method's open weight on validation examples.

python bin/reproduce.py --tune=beta_vae --dataset=mnist --scale=small --output=runs/tuning
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.programs import reproduce

if __name__ == '__main__':
    reproduce()
