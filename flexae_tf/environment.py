"""The machine and the code: what is recorded about a run, and a quiet import of TensorFlow."""

import contextlib
import importlib
import logging
import os
import pathlib
import platform
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import flexae_tf
from flexae_tf import shutdown

# Lines that TensorFlow writes at its start and that do not concern a user: informational lines,
# a missing CUDA driver, and plug-ins that register twice.
STARTUP_LINES = '|'.join(
    (
        r'WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR',
        r'I\d{4} .*',
        r'E\d{4} .*failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE).*',
        r'[EW]\d{4} .*(Unable to register cu\w+ factory|computation placer already registered).*',
    )
)
_FILTER = """
import re, sys
known = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not known.match(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps `STARTUP_LINES` out of standard error while TensorFlow is imported.

    TensorFlow writes them from C++, before any of its log levels apply. A process of its own
    filters the lines, so that a message is not lost if TensorFlow aborts.
    """
    # Also written by C++, but with a log level.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')
    sys.stderr.flush()
    command = [sys.executable, '-ISc', _FILTER, STARTUP_LINES]
    line_filter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    stderr = os.dup(2)
    os.dup2(line_filter.stdin.fileno(), 2)
    shutdown.error_output = stderr  # a program that leaves does not wait for the filter
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        shutdown.error_output = 2
        os.close(stderr)
        line_filter.stdin.close()
        line_filter.wait()


@contextlib.contextmanager
def _not_installed(*packages: str) -> Iterator[None]:
    """Makes imports of packages fail, except of packages that are imported already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_tensorflow() -> types.ModuleType:
    """Imports TensorFlow and initializes its devices without `STARTUP_LINES`."""
    if 'tensorflow' not in sys.modules:
        # oneDNN halves the time of convolutions; TensorFlow leaves it off without AVX-512.
        os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
        # Overrides the environment and keras.json: the methods need TensorFlow.
        os.environ['KERAS_BACKEND'] = 'tensorflow'
        # It warns if its cache cannot be in the home folder, which does not matter here.
        logging.getLogger('matplotlib').setLevel(logging.ERROR)
        # Keras imports them for features that no program uses: a third of the time of a start.
        with quiet_start(), _not_installed('matplotlib', 'sklearn'):
            importlib.import_module('tensorflow').config.list_physical_devices()
    return sys.modules['tensorflow']


def environment() -> dict[str, Any]:
    """Returns versions, platform and command: the content of environment.json."""
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
    """Returns the version of the package; from a clone also the commit."""
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
    # A copy installed inside another project's clone must not report that project's commit.
    is_clone = described.returncode == 0 and (root / '.git').exists()
    commit = f'+{described.stdout.strip()}' if is_clone else ''
    return flexae_tf.__version__ + commit
