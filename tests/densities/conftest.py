"""Shared by the tests of densities: a small trained run and its densities."""

import dataclasses
import functools
import shutil

import numpy as np
import pytest

from flexae_tf.config import TrainConfig
from flexae_tf.densities import DENSITIES, densities
from flexae_tf.methods import resolve
from flexae_tf.training.restore import open_run
from flexae_tf.training.trainer import Trainer

TRAINING_STEPS = 30
DENSITY_STEPS = 6  # of the densities that are trained by steps


def density_steps(name):
    return DENSITY_STEPS if DENSITIES[name].trained_by_steps else None


@pytest.fixture(scope='session')
def dataset(synthetic):
    """The data of the run: `synthetic_2d` with 1000 training vectors."""
    return dataclasses.replace(synthetic, train=synthetic.train.take(np.arange(1000)))


@pytest.fixture(scope='session')
def trained_folder(dataset, tmp_path_factory):
    """The workdir of a trained VAE; not to be changed by tests."""
    folder = tmp_path_factory.mktemp('trained') / 'run'
    config = TrainConfig(
        method='vae',
        dataset='synthetic_2d',
        train_examples=1000,
        validation_examples=200,
        training_steps=TRAINING_STEPS,
        batch_size=16,
        snapshot_every_steps=0,
        workdir=str(folder),
    )
    Trainer(resolve(config, dataset.spec), dataset).train()
    return folder


@pytest.fixture
def run(trained_folder, tmp_path):
    """The trained run in a folder of the test's own."""
    return open_run(shutil.copytree(trained_folder, tmp_path / 'run'))


@pytest.fixture(scope='session')
def fitted_folder(trained_folder, dataset, tmp_path_factory):
    """`fitted_folder(name)`: a copy of the workdir with this density, fitted once."""

    @functools.cache
    def fit(name):
        copy = shutil.copytree(trained_folder, tmp_path_factory.mktemp(name) / 'run')
        densities.fit(open_run(copy), name, dataset, steps=density_steps(name))
        return copy

    return fit
