"""Reports device, packages, data sets and the Inception network of this machine.

python bin/doctor.py --data_dir=DATA
"""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the program receives it

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # run from a clone

from flexae_tf.cli import doctor

if __name__ == '__main__':
    doctor()
