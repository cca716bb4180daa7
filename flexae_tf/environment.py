"""Versions, device names and commit: what is recorded about a run."""

import os
import pathlib
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import flexae_tf


def environment() -> dict[str, Any]:
    """What the program runs on and from which code."""
    packages = (
        *('tensorflow', 'keras', 'numpy', 'scipy', 'scikit-learn'),
        *('tensorflow-datasets', 'tensorflow-gan'),
    )
    return {
        'code': code_version(),
        'python': platform.python_version(),
        'platform': platform.platform(),
        'cpus': os.cpu_count(),
        'packages': {name: _version(name) for name in packages},
        'command': sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def code_version() -> str:
    """The package's version, with the commit when it runs from a clone."""
    root = pathlib.Path(__file__).resolve().parents[1]
    try:
        described = subprocess.run(
            ['git', 'describe', '--always', '--dirty'],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return flexae_tf.__version__
    # A copy installed inside somebody else's clone must not report that clone's commit.
    ours = described.returncode == 0 and (root / '.git').exists()
    commit = f'+{described.stdout.strip()}' if ours else ''
    return flexae_tf.__version__ + commit
