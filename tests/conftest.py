"""What all tests share: small configurations and data, and the programs."""

import contextlib
import itertools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['CUDA_VISIBLE_DEVICES'] = ''
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='flexae_tf-')  # nobody's own cache

import tensorflow as tf

# Two logical devices, so that what runs on several is tested on several.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.experimental.enable_tensor_float_32_execution(False)
STRATEGIES = itertools.count(1)
ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def two_devices():
    """A strategy over both logical devices.

    Strategies of a process number their collectives alike, so that a second one is told that its
    shapes are not those of the first. TensorFlow's own tests give each its range of numbers, too.
    """

    class Strategy(tf.distribute.MirroredStrategy):
        _collective_key_base = 100_000 * next(STRATEGIES)

    return Strategy([device.name for device in tf.config.list_logical_devices('CPU')])


@pytest.fixture
def config():
    """`config(**options)`: the smallest real training there is, Table 5's nets on vectors."""
    from flexae_tf.config import TrainConfig

    def make(**options):
        small = dict(
            dataset='synthetic_2d',
            batch_size=16,
            training_steps=10,
            critic_steps=1,  # each step more is longer to trace
            validation_examples=200,
            log_every_steps=2,
            sample_every_steps=5,
            save_every_steps=3,
            snapshot_steps=5,
        )
        return TrainConfig(**{**small, **options})

    return make


@pytest.fixture(scope='session')
def synthetic():
    """The data of `synthetic_2d`, loaded once."""
    from flexae_tf import data
    from flexae_tf.config import TrainConfig

    return data.load(TrainConfig(dataset='synthetic_2d', validation_examples=200))


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
def quick():
    """A context whose programs must need less than a second of processor time: no TensorFlow."""

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
