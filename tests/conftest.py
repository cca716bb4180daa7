"""Fixtures of all tests: small configurations and data, and the programs."""

import contextlib
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import pytest

from flexae_tf.environment import import_tensorflow

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['CUDA_VISIBLE_DEVICES'] = ''
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='flexae_tf-')  # not the user's cache

tf = import_tensorflow()

# Logical devices, so that tests can train on several devices.
DEVICES = 4 if 'FLEXAE_TF_SOAK' in os.environ else 2
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * DEVICES
)
tf.config.experimental.enable_tensor_float_32_execution(False)
ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def config():
    """`config(**options)`: a minimal resolved training, with the networks of Table 5 on vectors."""
    from flexae_tf import data
    from flexae_tf.config import TrainConfig
    from flexae_tf.methods import resolve

    def make(**options):
        small = dict(
            dataset='synthetic_2d',
            batch_size=16,
            training_steps=10,
            critic_steps=1,  # more steps take longer to trace
            validation_examples=200,
            log_every_steps=2,
            sample_every_steps=5,
            save_every_steps=3,
            snapshot_every_steps=5,
        )
        config = TrainConfig(**{**small, **options})
        return resolve(config, data.describe(config))

    return make


@pytest.fixture(scope='session')
def synthetic():
    """The data of `synthetic_2d`, loaded once."""
    from flexae_tf import data
    from flexae_tf.config import TrainConfig

    return data.load(TrainConfig(dataset='synthetic_2d', validation_examples=200))


@pytest.fixture
def mirrored():
    """`mirrored(2)`: a strategy over that many devices."""

    def make(replicas):
        # Otherwise all strategies number their collectives from the same start, and TensorFlow
        # confuses the collectives of two strategies in one process.
        tf.distribute.MirroredStrategy._collective_key_base += 1000
        devices = tf.config.list_logical_devices('CPU')[:replicas]
        assert len(devices) == replicas
        return tf.distribute.MirroredStrategy([d.name for d in devices])

    return make


@pytest.fixture
def unprivileged(tmp_path):
    """`with unprivileged():` runs as a user whom file permissions bind, also if tests run as root.

    That user can write in `tmp_path`, and every other file there has the permissions of others.
    """

    @contextlib.contextmanager
    def drop():
        if os.geteuid():
            yield
            return
        for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest hides them from others
            folder.chmod(folder.stat().st_mode | 0o711)
        os.chown(tmp_path, 65534, -1)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop


@pytest.fixture
def program():
    """`program('train', '--flag=...')`: runs `bin/train.py`; returns the finished process."""

    def run(name, *flags, timeout=300, **options):
        return subprocess.run(
            [sys.executable, ROOT / 'bin' / f'{name}.py', *flags],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            **options,
        )

    return run


@pytest.fixture
def here():
    """`here('train', '--flag=...')`: runs a program in this process, without its slow start."""
    from flexae_tf import cli
    from flexae_tf.shutdown import GracefulShutdown

    def call(name, *flags):
        with contextlib.chdir(ROOT), GracefulShutdown():
            cli.call(name, flags)

    return call


@pytest.fixture
def refused_here(here):
    """`refused_here(code, words, 'train', ...)`: asserts an error with that exit code."""
    from flexae_tf.errors import UserError

    def check(code, words, name, *flags):
        with pytest.raises(UserError) as error:
            here(name, *flags)
        assert error.value.exit_code == code
        for word in words:
            assert word in str(error.value)

    return check


@pytest.fixture
def quick():
    """A context whose programs must not import TensorFlow: at most a second of CPU time."""

    @contextlib.contextmanager
    def measure():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        yield
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0

    return measure


@pytest.fixture
def refused(program):
    """`refused(code, words, 'train', ...)`: asserts a one-line error with that exit code."""

    def check(code, words, name, *flags):
        done = program(name, *flags)
        errors = [line for line in done.stderr.splitlines() if ': error: ' in line]
        assert done.returncode == code, done.stderr
        assert len(errors) == 1 and 'Traceback' not in done.stderr, done.stderr
        for word in words:
            assert word in errors[0]
        return errors[0]

    return check


@pytest.fixture
def short_networks(monkeypatch):
    """Shortens the MNIST architecture to one layer of each kind, to trace faster."""
    shorten_networks(monkeypatch)


def shorten_networks(monkeypatch):
    """Does the same as `short_networks`, for fixtures of a wider scope."""
    from flexae_tf.networks import architectures
    from flexae_tf.networks.architectures import Architecture, Conv, DenseReshape, TConv

    row = Architecture(
        size=28,
        latent_dim=4,
        encoder=(Conv(4, 4, 2),),
        decoder=(DenseReshape(3), TConv(5, 4, 2)),
        last_kernel=4,
    )
    monkeypatch.setitem(architectures.ARCHITECTURES, 'mnist', row)


def pytest_terminal_summary(terminalreporter):
    """Prints the results of long tests, also if they pass: lines that begin with SOAK."""
    for report in terminalreporter.getreports('passed') + terminalreporter.getreports('failed'):
        for line in report.capstdout.splitlines():
            if line.startswith('SOAK '):
                terminalreporter.write_line(line)
