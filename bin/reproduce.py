"""Runs the experiments: the paper's tables and figures, and the choice of open weights.

python bin/reproduce.py --artifact=table1 --scale=small --output=runs/paper
python bin/reproduce.py --tune=beta_vae --dataset=mnist --scale=small --output=runs/paper
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.cli import reproduce

if __name__ == '__main__':
    reproduce()
