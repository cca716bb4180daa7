"""Reproduces the paper's tables and figures, and selects open weights.

python bin/reproduce.py --artifact=table1 --scale=small --output_dir=runs/paper
python bin/reproduce.py --tune=beta_vae --dataset=mnist --scale=small --output_dir=runs/paper
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import reproduce

if __name__ == '__main__':
    reproduce()
