"""Says what there is on this machine: device, versions, data sets, Inception.

python bin/doctor.py --data_dir=DATA
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf.cli import doctor

if __name__ == '__main__':
    doctor()
