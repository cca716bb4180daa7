"""Long tests, run by `bin/test --soak`."""

import os
import pathlib

import pytest
import tensorflow as tf

from tests.evaluation.networks import TinyInception
from tests.soak import campaign

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Skips the tests of this folder except in `bin/test --soak`."""
    if 'FLEXAE_TF_SOAK' not in os.environ:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason='bin/test --soak'))


@pytest.fixture(scope='session')
def vectors(tmp_path_factory):
    """A finished run on vectors; not to be changed by tests."""
    run = tmp_path_factory.mktemp('vectors') / 'run'
    campaign.complete(campaign.training('vae', run))
    return run


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """A finished run on images; not to be changed by tests."""
    run = tmp_path_factory.mktemp('images') / 'run'
    campaign.complete(campaign.training('vae', run, campaign.IMAGES))
    return run


@pytest.fixture(scope='session')
def network(tmp_path_factory):
    """The folder of a tiny network with the interface of Inception."""
    folder = tmp_path_factory.mktemp('networks') / 'tiny'
    tf.saved_model.save(TinyInception(), str(folder))
    return folder
