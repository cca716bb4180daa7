"""Says what there is on this machine: device, versions, data sets, Inception.

python bin/doctor.py --data_dir=DATA
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import DoctorConfig


def _run(config: DoctorConfig) -> None:
    from flexae_tf.doctor import doctor

    doctor(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, DoctorConfig)


if __name__ == '__main__':
    main()
