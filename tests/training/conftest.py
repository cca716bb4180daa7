"""A trained run, and helpers to train and to compare runs."""

import shutil

import numpy as np
import pytest

from flexae_tf.training.trainer import Trainer


def train(config, dataset, **options):
    """Trains and returns the trainer."""
    trainer = Trainer(config, dataset, **options)
    trainer.train()
    return trainer


def assert_equal_states(a, b):
    """Asserts that two trainers have the same weights, moments, counters and averages."""

    def state(trainer):
        return {v.path: v.numpy() for v in trainer.method.variables} | {
            f'{name}/{v.path}': v.numpy()
            for name in ('ae', 'critic', 'gen', 'enc')
            for v in getattr(trainer.method, f'{name}_optimizer').variables
        }

    a, b = state(a), state(b)
    assert a.keys() == b.keys() and len(a) > 40
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


def remove_checkpoint(run, step):
    """Removes the checkpoint and the snapshot of a step."""
    for path in (run / 'checkpoints').glob(f'*-{step:09d}*'):
        path.unlink()


@pytest.fixture(scope='package')
def straight(config, synthetic, tmp_path_factory):
    """An uninterrupted run of `config()`, trained once because tracing is slow."""
    return train(config(workdir=str(tmp_path_factory.mktemp('straight') / 'run')), synthetic)


@pytest.fixture
def run(straight, tmp_path):
    """A copy of the workdir of `straight`, to continue in."""
    return shutil.copytree(straight.config.workdir, tmp_path / 'run')
