"""Fits a density to the codes of a trained run, to sample from instead of its prior.

python bin/fit.py --workdir=runs/mnist --density=gaussian_mixture
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import fit

if __name__ == '__main__':
    fit()
