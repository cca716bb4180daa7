"""Exports a trained run as a SavedModel that needs TensorFlow alone.

python bin/export.py --workdir=runs/mnist
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # runs from a clone as it is

from flexae_tf import program
from flexae_tf.config import ExportConfig


def _run(config: ExportConfig) -> None:
    from flexae_tf.export import export

    export(config)


def main() -> None:
    """Entry point of the installed program."""
    program.run(_run, ExportConfig)


if __name__ == '__main__':
    main()
